/** Errors as values: an errno and a sentence. The engine neither throws nor prints. */
#pragma once

namespace romulus {

struct [[nodiscard]] Status {
  /** 0, or an errno such as ENOSPC, EBADMSG, EINVAL. */
  int error = 0;
  const char* what = "";

  bool ok() const noexcept { return error == 0; }
};

}  // namespace romulus
