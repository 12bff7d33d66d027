/** The haggling byte by byte, as the specification writes it, and what must end a connection. */
#include "../disk/nbd_handshake.h"

#include <cstring>
#include <string>

#include "../disk/nbd_wire.h"
#include "check.h"

using namespace romulus::disk::nbd;
using Bytes = std::vector<uint8_t>;

namespace {

template <typename T>
void append(Bytes& out, T value) {
  out.resize(out.size() + sizeof(T));
  put<T>(out.data() + out.size() - sizeof(T), value);
}

Bytes option_head(uint32_t option, uint32_t length) {
  Bytes out;
  append(out, kOptionMagic);
  append(out, option);
  append(out, length);
  return out;
}

Bytes go(const std::string& name) {
  Bytes data;
  append(data, static_cast<uint32_t>(name.size()));
  data.insert(data.end(), name.begin(), name.end());
  append<uint16_t>(data, 0);
  return data;
}

Handshake after_flags(uint32_t flags = 3) {
  Handshake handshake("vm", 1 << 20, kExportFlags);
  Bytes answer;
  Bytes in;
  append(in, flags);
  handshake.consume(in, answer);
  return handshake;
}

Bytes say(Handshake& handshake, uint32_t option, const Bytes& data) {
  Bytes answer;
  handshake.consume(option_head(option, static_cast<uint32_t>(data.size())), answer);
  if (!data.empty() && handshake.state() == Handshake::State::kOption) handshake.consume(data, answer);
  return answer;
}

uint32_t first_reply(const Bytes& answer) { return get<uint32_t>(answer.data() + 12); }

void greets() {
  Bytes out;
  Handshake::greet(out);
  CHECK(out.size() == 18 && std::memcmp(out.data(), "NBDMAGICIHAVEOPT\0\3", 18) == 0);
}

void goes() {
  for (const char* name : {"", "vm"}) {
    Handshake handshake = after_flags();
    const Bytes answer = say(handshake, option::kGo, go(name));
    CHECK(handshake.state() == Handshake::State::kTransmission);
    CHECK(first_reply(answer) == reply::kInfo);
    CHECK(get<uint64_t>(answer.data() + 22) == 1 << 20);
  }
}

void names_another_export() {
  Handshake handshake = after_flags();
  CHECK(first_reply(say(handshake, option::kGo, go("other"))) == reply::kUnknown);
  CHECK(handshake.state() == Handshake::State::kOption);
  say(handshake, option::kExportName, Bytes{'o'});
  CHECK(handshake.state() == Handshake::State::kEnded);
}

void speaks_the_old_way() {
  Handshake with_zeroes = after_flags(1);
  CHECK(say(with_zeroes, option::kExportName, {}).size() == 8 + 2 + 124);
  Handshake without = after_flags();
  CHECK(say(without, option::kExportName, {}).size() == 8 + 2);
  CHECK(without.state() == Handshake::State::kTransmission);
}

void answers_nonsense() {
  Handshake handshake = after_flags();
  CHECK(first_reply(say(handshake, 99, {})) == reply::kUnsupported);
  CHECK(first_reply(say(handshake, option::kGo, Bytes(5))) == reply::kInvalid);
  Bytes lying = go("vm");
  put<uint32_t>(lying.data(), 0xffffffff);
  CHECK(first_reply(say(handshake, option::kInfo, lying)) == reply::kInvalid);
  CHECK(first_reply(say(handshake, option::kList, Bytes(1))) == reply::kInvalid);
  CHECK(handshake.state() == Handshake::State::kOption);
}

void ends() {
  CHECK(after_flags(8).state() == Handshake::State::kEnded);
  CHECK(after_flags(0).state() == Handshake::State::kEnded);
  Handshake oversized = after_flags();
  Bytes answer;
  oversized.consume(option_head(option::kGo, kMaxOptionBytes + 1), answer);
  CHECK(oversized.state() == Handshake::State::kEnded && answer.empty());
  Handshake endless = after_flags();
  for (unsigned i = 0; i <= kMaxOptions; i++) say(endless, option::kList, {});
  CHECK(endless.state() == Handshake::State::kEnded);
  Handshake leaving = after_flags();
  CHECK(first_reply(say(leaving, option::kAbort, {})) == reply::kAck);
  CHECK(leaving.state() == Handshake::State::kEnded);
}

void checks_requests() {
  constexpr uint64_t kDisk = 1 << 20;
  Request request{0, Command::kWrite, 1, kDisk - 512, 512};
  CHECK(check_request(request, kDisk) == 0);
  request.bytes = 513;
  CHECK(check_request(request, kDisk) == error::kNoSpace);
  request.command = Command::kRead;
  CHECK(check_request(request, kDisk) == error::kInvalid);
  request = {0, Command::kRead, 1, ~uint64_t{0}, 2};
  CHECK(check_request(request, kDisk) == error::kInvalid);
  request = {command_flag::kNoHole, Command::kWrite, 1, 0, 512};
  CHECK(check_request(request, kDisk) == error::kInvalid);
  request = {command_flag::kNoHole, Command::kWriteZeroes, 1, 0, 512};
  CHECK(check_request(request, kDisk) == 0);
  request = {0, Command::kCache, 1, 0, 512};
  CHECK(check_request(request, kDisk) == error::kInvalid);
  uint8_t bytes[kRequestBytes] = {};
  CHECK(!parse_request(bytes, request));
  put<uint32_t>(bytes, kRequestMagic);
  put<uint16_t>(bytes + 6, 1);
  put<uint32_t>(bytes + 24, kMaxRequestBytes + 1);
  CHECK(!parse_request(bytes, request));
  put<uint32_t>(bytes + 24, kMaxRequestBytes);
  CHECK(parse_request(bytes, request) && request.has_data());
}

}  // namespace

int main() {
  greets();
  goes();
  names_another_export();
  speaks_the_old_way();
  answers_nonsense();
  ends();
  checks_requests();
}
