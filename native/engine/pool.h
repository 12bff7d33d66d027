/** Threads for short parallel work: one set per process, shared by everybody who calls run(). */
#pragma once

#include <cstdint>

namespace romulus {

inline constexpr uint32_t kMaxThreads = 64;

class ThreadPool {
 public:
  using Work = void (*)(void* context, uint32_t slot) noexcept;

  /** Lives as long as the process: its threads may sleep in it at exit. */
  static ThreadPool& shared() noexcept;

  /**
   * Calls work(context, slot) once for each slot below `width`, in parallel, and returns when all have returned. The
   * caller works too, so a call never waits for a free thread, and calls from several threads share the workers.
   */
  void run(uint32_t width, Work work, void* context) noexcept;

  /** run() for a lambda. */
  template <typename F>
  void for_slots(uint32_t width, F& body) noexcept {
    run(width, [](void* context, uint32_t slot) noexcept { (*static_cast<F*>(context))(slot); }, &body);
  }

 private:
  struct State;
  ThreadPool() noexcept;
  State* state_;
};

}  // namespace romulus
