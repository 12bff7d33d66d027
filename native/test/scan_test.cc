/** Scanning in pieces finds the words that going over each of them finds, and their pages, at any density and with any number of threads. */
#include "../engine/scan.h"

#include <vector>

#include "../engine/mapping.h"
#include "check.h"
#include "random.h"

using romulus::Mapping;
using romulus::test::Random;

namespace {

void finds_every_page(Random& random, uint64_t words, uint32_t threads, uint64_t one_word_in) {
  std::vector<uint64_t> bitmap(words);
  std::vector<uint32_t> expected;
  uint64_t pages = 0;
  for (uint64_t w = 0; w < words; w++) {
    if (random.below(one_word_in) != 0) continue;
    bitmap[w] = random.below(4) == 0 ? ~uint64_t{0} : random.next() & random.next();
    if (bitmap[w] != 0) expected.push_back(static_cast<uint32_t>(w));
    pages += static_cast<uint64_t>(__builtin_popcountll(bitmap[w]));
  }
  Mapping list;
  CHECK(list.anonymous(romulus::scan_list_bytes(words)).ok());
  auto* const numbers = reinterpret_cast<uint32_t*>(list.data());
  const romulus::DirtyWords found = romulus::scan_words(bitmap, threads, numbers);
  CHECK(std::vector<uint32_t>(numbers, numbers + found.words) == expected);
  CHECK(found.pages == pages);
}

}  // namespace

int main() {
  Random random(8);
  for (const uint32_t threads : {1u, 2u, 5u}) {
    for (const uint64_t words : {uint64_t{1}, uint64_t{1000}, uint64_t{262'143}, uint64_t{300'001}}) {
      finds_every_page(random, words, threads, 1);
      finds_every_page(random, words, threads, 1000);
    }
  }
}
