// Work on the threads of XLA's pool: lanes that meet at the end, or stages that meet after each.
//
// Whoever calls works too, and waits only for what a thread has begun: a pool whose threads are busy, perhaps with a
// call that waits for this one, delays nothing.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace {

constexpr int kSpins = 20000;  // turns to wait for what is nearly done: sleeping would take longer

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// f(lane, begin, end) for every lane of the rows.
template <class F>
void in_lanes(xla::ffi::ThreadPool& pool, int lanes, int64_t rows, F&& f) {
  struct Progress {
    std::atomic<int> begun{0}, done{0};
    std::mutex mutex;
    std::condition_variable finished;
  };
  const auto progress = std::make_shared<Progress>();
  const auto work = [progress, lanes, rows, &f] {
    for (int lane; (lane = progress->begun.fetch_add(1)) < lanes;) {
      f(lane, rows * lane / lanes, rows * (lane + 1) / lanes);
      std::lock_guard<std::mutex> lock(progress->mutex);
      if (progress->done.fetch_add(1) + 1 == lanes) progress->finished.notify_one();
    }
  };
  for (int i = 1; i < lanes; ++i) pool.Schedule(std::decay_t<decltype(work)>(work));
  work();
  for (int i = 0; i < kSpins && progress->done.load() < lanes; ++i) pause();
  std::unique_lock<std::mutex> lock(progress->mutex);
  progress->finished.wait(lock, [&] { return progress->done.load() == lanes; });
}

// f(stage, part) for every part of every stage, a stage after the one before. A thread takes the same part of every
// stage, whose weights then stay in its cache, and others only where nobody has begun them.
template <class F>
void in_stages(xla::ffi::ThreadPool& pool, int64_t stages, int parts, F&& f) {
  struct Progress {
    std::vector<std::atomic<bool>> begun;
    std::vector<std::atomic<int>> done;
    std::atomic<int> helpers{0};
    Progress(int64_t stages, int parts) : begun(stages * parts), done(stages) {}
  };
  const auto progress = std::make_shared<Progress>(stages, parts);
  // Returns false where the stage before takes too long.
  const auto work = [progress, parts, &f](int64_t stage, int own, bool helper) {
    for (int i = 0; stage > 0 && progress->done[stage - 1].load(std::memory_order_acquire) < parts; ++i) {
      if (i < kSpins)
        pause();
      else if (helper && i > 20 * kSpins)
        return false;  // the thread is needed elsewhere
      else
        std::this_thread::yield();
    }
    for (int i = 0; i < parts; ++i) {
      const int part = (own + i) % parts;
      if (progress->begun[stage * parts + part].exchange(true, std::memory_order_acq_rel)) continue;
      f(stage, part);
      progress->done[stage].fetch_add(1, std::memory_order_release);
    }
    return true;
  };
  const auto help = [progress, stages, work] {
    const int own = 1 + progress->helpers.fetch_add(1);
    for (int64_t stage = 0; stage < stages && work(stage, own, true); ++stage) {
    }
  };
  for (int i = 1; i < parts; ++i) pool.Schedule(std::decay_t<decltype(help)>(help));
  for (int64_t stage = 0; stage < stages; ++stage) work(stage, 0, false);
  while (progress->done[stages - 1].load(std::memory_order_acquire) < parts) std::this_thread::yield();
}

}  // namespace
