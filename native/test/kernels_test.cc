/** Every SIMD level this processor has gives what the portable one gives: lists, deltas, shadows and digests. */
#include "../engine/kernels.h"

#include <cstring>
#include <vector>

#include "../engine/cpu.h"
#include "../engine/digest.h"
#include "check.h"
#include "random.h"

using namespace romulus;
using test::Random;

namespace {

std::vector<const Kernels*> levels() {
  std::vector<const Kernels*> found = {&kPortableKernels};
#if defined(__x86_64__)
  if (cpu_features().avx2) found.push_back(&kAvx2Kernels);
  if (cpu_features().avx512) found.push_back(&kAvx512Kernels);
#endif
  return found;
}

struct alignas(64) Page {
  uint8_t bytes[kPageBytes] = {};
};

Page random_page(Random& random, const Page& before) {
  Page page = before;
  const uint64_t kind = random.below(5);
  if (kind == 0) return Page{};
  const uint64_t words = kind == 1 ? 0 : kind == 2 ? 1 + random.below(4) : kind == 3 ? random.below(200) : 512;
  // Whole random words, a few of their bytes, zero, or the word before.
  const uint64_t style = random.below(5);
  for (uint64_t i = 0; i < words; i++) {
    const uint64_t at = words == 512 ? i : random.below(512);
    uint64_t value = random.next();
    uint64_t now;
    std::memcpy(&now, page.bytes + at * 8, 8);
    const uint64_t shape = style == 4 ? random.below(4) : style;
    if (shape == 1) value = now ^ (value & (uint64_t{0xff00ff} << 8 * random.below(6)));
    if (shape == 2) value &= random.below(3) == 0 ? 0 : 0xffff00;
    if (shape == 3 && at > 0) std::memcpy(&value, page.bytes + at * 8 - 8, 8);
    std::memcpy(page.bytes + at * 8, &value, 8);
  }
  return page;
}

struct Encoded {
  PageDelta delta;
  Page shadow;
  std::vector<uint8_t> masks;
  std::vector<uint8_t> data;
};

Encoded encode(const Kernels& kernel, const Page& source, const Page& before, uint64_t number, Grain grain) {
  Encoded out;
  out.shadow = before;
  uint8_t masks[kMaxPageMaskBytes + kStoreSlackBytes];
  std::vector<uint8_t> data(kPageBytes + kStoreSlackBytes);
  out.delta =
      kernel.encode_page({source.bytes, out.shadow.bytes, number, grain, number % 2 == 0, masks, data.data(), source.bytes, before.bytes});
  CHECK(out.delta.mask_bytes <= kMaxPageMaskBytes && out.delta.data_bytes <= kPageBytes);
  out.masks.assign(masks, masks + out.delta.mask_bytes);
  out.data.assign(data.data(), data.data() + out.delta.data_bytes);
  return out;
}

/** Applies from copies of exact length, so that a sanitizer sees reads beyond the end. */
uint64_t apply(const Kernels& kernel, Page& image, uint64_t number, const Encoded& from) {
  std::vector<uint8_t> stream(from.data);
  stream.insert(stream.end(), from.masks.begin(), from.masks.end());
  uint8_t kinds[kMaxKindBytes];
  std::memcpy(kinds, from.delta.kinds, kMaxKindBytes);
  const DeltaView view = {from.delta.line_mask, kinds, stream.data() + from.data.size(), stream.data(),
                          stream.data() + stream.size()};
  return kernel.apply_delta(image.bytes, number, view);
}

void pages_encode_alike(Random& random, Grain grain) {
  const Page before = random_page(random, Page{});
  const Page source = random_page(random, before);
  const uint64_t number = random.below(kMaxPages);
  const Encoded expected = encode(kPortableKernels, source, before, number, grain);
  CHECK(std::memcmp(expected.shadow.bytes, source.bytes, kPageBytes) == 0);
  const uint64_t first_line = number * kLinesPerPage;
  for (const Kernels* kernel : levels()) {
    const Encoded got = encode(*kernel, source, before, number, grain);
    CHECK(got.delta.line_mask == expected.delta.line_mask && got.delta.words == expected.delta.words);
    CHECK(got.delta.kinds[0] == expected.delta.kinds[0] && got.delta.kinds[1] == expected.delta.kinds[1]);
    CHECK(got.delta.zero == expected.delta.zero && got.delta.digest_change == expected.delta.digest_change);
    CHECK(got.masks == expected.masks && got.data == expected.data);
    CHECK(std::memcmp(got.shadow.bytes, source.bytes, kPageBytes) == 0);
    const uint64_t was = kernel->digest_lines(before.bytes, first_line, kLinesPerPage);
    const uint64_t is = kernel->digest_lines(source.bytes, first_line, kLinesPerPage);
    CHECK(is - was == expected.delta.digest_change);

    Page image = before;
    CHECK(apply(*kernel, image, number, got) == is - was);
    CHECK(std::memcmp(image.bytes, source.bytes, kPageBytes) == 0);
    CHECK(apply(*kernel, image, number, got) == 0);
    CHECK(std::memcmp(image.bytes, source.bytes, kPageBytes) == 0);
    image = before;
    CHECK(kernel->apply_page(image.bytes, number, source.bytes) == is - was);
    CHECK(std::memcmp(image.bytes, source.bytes, kPageBytes) == 0);
    CHECK(kernel->apply_page(image.bytes, number, nullptr) == 0 - is);
  }
}

/** One window after the other, as kernels.h says what an anchor is. */
std::vector<std::pair<uint32_t, uint64_t>> anchors_of(const Page& page, uint64_t lines) {
  std::vector<std::pair<uint32_t, uint64_t>> found;
  for (uint32_t first = 0; first + kWindowWords <= kWordsPerPage; first++) {
    if ((lines >> first / kWordsPerLine & 1) == 0) continue;
    uint64_t words[kWindowWords];
    uint64_t mixed[kWindowWords];
    std::memcpy(words, page.bytes + first * kWordBytes, sizeof words);
    for (uint64_t i = 0; i < kWindowWords; i++) mixed[i] = digest_mix(words[i] ^ kWindowKey);
    const uint64_t hash = window_hash(mixed);
    const bool is_one_word = words[0] == words[1] && words[0] == words[2] && words[0] == words[3];
    if ((hash & kAnchorMask) == 0 && !is_one_word) found.emplace_back(first, hash);
  }
  return found;
}

void anchors_are_alike(Random& random) {
  const Page before = random_page(random, Page{});
  const Page page = random_page(random, before);
  const uint64_t lines = random.below(3) == 0 ? ~uint64_t{0} : random.next() & random.next();
  const auto expected = anchors_of(page, lines);
  uint64_t changed = 0;
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    changed |= uint64_t{std::memcmp(page.bytes + l * kLineBytes, before.bytes + l * kLineBytes, kLineBytes) != 0} << l;
  }
  for (const Kernels* kernel : levels()) {
    CHECK(kernel->changed_lines(page.bytes, before.bytes) == changed);
    Anchors found;
    kernel->find_anchors(page.bytes, lines, found);
    CHECK(found.count == expected.size());
    for (size_t i = 0; i < found.count; i++) CHECK(found.words[i] == expected[i].first && found.hashes[i] == expected[i].second);
  }
}

void lists_are_alike(Random& random) {
  std::vector<uint64_t> words(1 + random.below(200));
  const uint64_t density = random.below(4);
  for (uint64_t& word : words) {
    if (random.below(4) > density) continue;
    const uint64_t shape = random.below(4);
    if (shape == 0) word = ~uint64_t{0};
    if (shape == 1) word = random.next() & random.next() & (density == 1 ? random.next() : ~0ull);
    if (shape >= 2) word = ~uint64_t{0} << random.below(64) >> random.below(64);
    if (shape == 3) word |= uint64_t{0xff00} << random.below(48);
  }
  const auto first = static_cast<uint32_t>(random.below(1 << 20));
  std::vector<uint32_t> dirty_words;
  std::vector<uint32_t> expected;
  for (uint32_t w = 0; w < words.size(); w++) {
    if (words[w] != 0) dirty_words.push_back(w);
  }
  for (uint32_t i = 0; i < words.size() * 64; i++) {
    if ((words[i / 64] >> (i % 64) & 1) != 0) expected.push_back(i);
  }
  for (const Kernels* kernel : levels()) {
    std::vector<uint32_t> found(words.size() + kStoreSlackBytes);
    const DirtyWords counts = kernel->find_words(words.data(), words.size(), first, found.data());
    CHECK(counts.words == dirty_words.size() && counts.pages == expected.size());
    for (size_t i = 0; i < counts.words; i++) CHECK(found[i] == dirty_words[i] + first);
    std::vector<uint64_t> bits = words;
    std::vector<uint32_t> list(words.size() * 64 + kStoreSlackBytes);
    list.resize(kernel->take_pages(bits.data(), dirty_words.data(), dirty_words.size(), list.data()));
    CHECK(list == expected);
    CHECK(bits == std::vector<uint64_t>(words.size()));
  }
}

void words_that_trade_places_change_the_digest() {
  Page page;
  const uint64_t a = 0x1111, b = 0x2222;
  std::memcpy(page.bytes, &a, 8);
  std::memcpy(page.bytes + 8, &b, 8);
  const uint64_t before = kPortableKernels.digest_lines(page.bytes, 0, kLinesPerPage);
  std::memcpy(page.bytes, &b, 8);
  std::memcpy(page.bytes + 8, &a, 8);
  CHECK(kPortableKernels.digest_lines(page.bytes, 0, kLinesPerPage) != before);
  CHECK(kPortableKernels.digest_lines(page.bytes, 64, kLinesPerPage) != kPortableKernels.digest_lines(page.bytes, 0, 64));
}

}  // namespace

int main() {
  Random random(3);
  for (int i = 0; i < 4000; i++) pages_encode_alike(random, i % 2 == 0 ? Grain::words : Grain::bytes);
  for (int i = 0; i < 2000; i++) lists_are_alike(random);
  for (int i = 0; i < 2000; i++) anchors_are_alike(random);
  words_that_trade_places_change_the_digest();
}
