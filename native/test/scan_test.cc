/** Scanning in pieces gives the list that going over every bit gives, at any density and with any number of threads. */
#include "../engine/scan.h"

#include <vector>

#include "../engine/mapping.h"
#include "check.h"
#include "random.h"

using romulus::Mapping;
using romulus::test::Random;

namespace {

void lists_every_page(Random& random, uint64_t words, uint32_t threads, uint64_t one_word_in) {
  std::vector<uint64_t> bitmap(words);
  std::vector<uint32_t> expected;
  for (uint64_t w = 0; w < words; w++) {
    if (random.below(one_word_in) != 0) continue;
    bitmap[w] = random.below(4) == 0 ? ~uint64_t{0} : random.next() & random.next();
    for (uint32_t bit = 0; bit < 64; bit++) {
      if ((bitmap[w] >> bit & 1) != 0) expected.push_back(static_cast<uint32_t>(w * 64 + bit));
    }
  }
  Mapping list;
  CHECK(list.anonymous(romulus::scan_list_bytes(words)).ok());
  auto* const pages = reinterpret_cast<uint32_t*>(list.data());
  const uint64_t count = romulus::scan_pages(bitmap, threads, pages);
  CHECK(std::vector<uint32_t>(pages, pages + count) == expected);
  CHECK(bitmap == std::vector<uint64_t>(words));
}

}  // namespace

int main() {
  Random random(8);
  for (const uint32_t threads : {1u, 2u, 5u}) {
    for (const uint64_t words : {uint64_t{1}, uint64_t{1000}, uint64_t{262'143}, uint64_t{300'001}}) {
      lists_every_page(random, words, threads, 1);
      lists_every_page(random, words, threads, 1000);
    }
  }
}
