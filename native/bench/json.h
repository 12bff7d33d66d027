/** Rows of a JSON array, one object a line on standard output. */
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace romulus::bench {

class Rows {
 public:
  Rows() { std::printf("["); }
  ~Rows() { std::printf("\n]\n"); }
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;

  /** Starts a row; fields follow. */
  Rows& row() {
    if (open_) std::printf("},");
    std::printf("\n  {");
    open_ = true;
    first_ = true;
    return *this;
  }
  Rows& field(const char* name, const std::string& value) { return name_of(name).text("\"").text(value).text("\""); }
  Rows& field(const char* name, const char* value) { return field(name, std::string(value)); }
  Rows& field(const char* name, uint64_t value) { return name_of(name).text(std::to_string(value)); }
  Rows& field(const char* name, double value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.4g", value);
    return name_of(name).text(digits);
  }
  void end() {
    if (open_) std::printf("}");
    open_ = false;
  }

 private:
  Rows& name_of(const char* name) {
    std::printf("%s\"%s\":", first_ ? "" : ",", name);
    first_ = false;
    return *this;
  }
  Rows& text(const std::string& value) {
    std::fputs(value.c_str(), stdout);
    return *this;
  }

  bool open_ = false;
  bool first_ = true;
};

}  // namespace romulus::bench
