/** A list of open jobs under one lock; workers take slots of the first, and the last to finish wakes the caller. */
#include "pool.h"

#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <mutex>

namespace romulus {
namespace {

struct Job {
  ThreadPool::Work work;
  void* context;
  uint32_t width;
  uint32_t next = 0;
  uint32_t finished = 0;
  Job* following = nullptr;
};

}  // namespace

struct ThreadPool::State {
  std::mutex lock;
  std::condition_variable work_waits;
  std::condition_variable job_done;
  Job* jobs = nullptr;
  uint32_t workers = 0;

  void add(Job& job) noexcept {
    job.following = jobs;
    jobs = &job;
  }

  /** Takes the job off the list once its last slot is given out, so that it may live on the caller's stack. */
  uint32_t take_slot(Job& job) noexcept {
    const uint32_t slot = job.next++;
    if (job.next == job.width) {
      Job** link = &jobs;
      while (*link != &job) link = &(*link)->following;
      *link = job.following;
    }
    return slot;
  }

  void work_on(std::unique_lock<std::mutex>& held, Job& job) noexcept {
    const uint32_t slot = take_slot(job);
    held.unlock();
    job.work(job.context, slot);
    held.lock();
    job.finished++;
    if (job.finished == job.width) job_done.notify_all();
  }

  /** Fewer threads than asked for is slower, not wrong: the caller does what is left. */
  void grow(uint32_t wanted) noexcept {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are the main thread's
    while (workers < wanted) {
      pthread_t thread;
      if (pthread_create(&thread, nullptr, worker, this) != 0) break;
      pthread_detach(thread);
      workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  static void* worker(void* self) noexcept {
    State& state = *static_cast<State*>(self);
    std::unique_lock held(state.lock);
    for (;;) {
      while (state.jobs == nullptr) state.work_waits.wait(held);
      state.work_on(held, *state.jobs);
    }
  }
};

ThreadPool::ThreadPool() noexcept : state_(new State) {}

ThreadPool& ThreadPool::shared() noexcept {
  static ThreadPool* const pool = new ThreadPool;
  return *pool;
}

void ThreadPool::run(uint32_t width, Work work, void* context) noexcept {
  if (width > kMaxThreads) width = kMaxThreads;
  if (width <= 1) {
    if (width == 1) work(context, 0);
    return;
  }
  std::unique_lock held(state_->lock);
  state_->grow(width - 1);
  Job job{work, context, width};
  state_->add(job);
  for (uint32_t i = 1; i < width; i++) state_->work_waits.notify_one();
  while (job.next < job.width) state_->work_on(held, job);
  while (job.finished < job.width) state_->job_done.wait(held);
}

}  // namespace romulus
