/** Mappings: shared files reach each other, short files and read-only ones are refused, nothing is left after a failure. */
#include "../engine/mapping.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "check.h"

using romulus::Mapping;

int main() {
  char directory[] = "/tmp/romulus-mapping-XXXXXX";
  CHECK(mkdtemp(directory) != nullptr);
  const std::string path = std::string(directory) + "/image";

  Mapping missing;
  CHECK(missing.open(path.c_str(), 4096, {}).error == ENOENT);

  Mapping writer, reader;
  CHECK(writer.open(path.c_str(), 8192, {.create = true, .reserve = true}).ok());
  CHECK(reader.open(path.c_str(), 8192, {}).ok());
  CHECK(!reader.writable() && writer.writable());
  writer.data()[8191] = 7;
  CHECK(reader.data()[8191] == 7);
  CHECK(writer.sync().ok());

  Mapping longer;
  CHECK(longer.open(path.c_str(), 12288, {}).error == EINVAL);

  const std::string huge = std::string(directory) + "/huge";
  Mapping full;
  CHECK(!full.open(huge.c_str(), uint64_t{1} << 43, {.create = true, .reserve = true}).ok());
  CHECK(access(huge.c_str(), F_OK) != 0);

  Mapping sparse;
  CHECK(sparse.anonymous(uint64_t{64} << 30).ok());
  sparse.data()[(uint64_t{64} << 30) - 1] = 1;
  CHECK(unlink(path.c_str()) == 0 && rmdir(directory) == 0);
}
