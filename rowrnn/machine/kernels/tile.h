// Vectors, activations and products of small tiles.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace {

// Vectors as wide as the machine has them; tiles are four vectors wide and as tall as its registers hold.
#if defined(__AVX512F__)
constexpr int kLanes = 16, kRows = 6;
#elif defined(__AVX__)
constexpr int kLanes = 8, kRows = 3;
#else
constexpr int kLanes = 4, kRows = 6;
#endif
constexpr int kTile = 4 * kLanes;  // columns of a tile
constexpr int64_t kSum = 32;  // usual number of products that are added up in a row: a longer chain rounds more often

typedef float Vector __attribute__((vector_size(4 * kLanes)));
typedef int32_t Integers __attribute__((vector_size(4 * kLanes)));
typedef float Unaligned __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

inline Vector load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
inline void store(float* p, Vector v) { *reinterpret_cast<Unaligned*>(p) = v; }

// The first n lanes only, the others zero.
inline Vector load(const float* p, int n) {
  if (n >= kLanes) return load(p);
  float lanes[kLanes] = {};
  std::memcpy(lanes, p, sizeof(float) * n);
  return load(lanes);
}
inline void store(float* p, Vector v, int n) {
  if (n >= kLanes) return store(p, v);
  float lanes[kLanes];
  store(lanes, v);
  std::memcpy(p, lanes, sizeof(float) * n);
}

// min and max as comparisons would pass NaN over: a NaN must reach the outputs.
inline Vector clamp(Vector x, float limit) {
  x = x > limit ? Vector{} + limit : x;
  return x < -limit ? Vector{} - limit : x;
}

// x P(x²) / Q(x²), the minimax fit of its degree on [-9, 9], relative error 2e-8; beyond, tanh rounds to ±1.
inline Vector tanh(Vector x) {
  x = clamp(x, 9.0f);
  const Vector u = x * x;
  Vector p = 1.33546377e-08f * u + 2.0609064e-05f, q = 7.77654823e-07f * u + 3.28563296e-04f;
  p = p * u + 3.49558697e-03f, q = q * u + 2.58769777e-02f;
  p = p * u + 1.33810246e-01f, q = q * u + 4.67143402e-01f;
  p = p * u + 9.99999979e-01f, q = q * u + 1.0f;
  return clamp(x * p / q, 1.0f);
}

// 1 / (1 + 2^y), 2^y as 2^round(y) from the exponent's bits times the minimax polynomial of the rest, error 2e-9.
inline Vector sigmoid(Vector x) {
  const Vector y = clamp(-1.44269504f * x, 126.0f),
               shifted = y + 12582912.0f;  // 1.5 · 2^23: the lowest bits hold round(y)
  const Vector f = y - (shifted - 12582912.0f);
  Vector p = 1.53533621e-04f * f + 1.33988745e-03f;
  p = p * f + 9.61843736e-03f;
  p = p * f + 5.55033247e-02f;
  p = p * f + 2.40226479e-01f;
  p = p * f + 6.93147203e-01f;
  p = p * f + 1.0f;
  const Vector result = 1.0f / (1.0f + (Vector)((Integers)p + ((Integers)shifted << 23)));
  return x == x ? result : x;  // The payload of a NaN would take part in the sum of exponents.
}

int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }
int64_t tiles(int64_t n) { return (n + kTile - 1) / kTile; }
// Of no numbers the pointers may be null.
void copy(float* to, const float* from, int64_t n) {
  if (n > 0) std::memcpy(to, from, sizeof(float) * n);
}
void clear(float* to, int64_t n) {
  if (n > 0) std::memset(to, 0, sizeof(float) * n);
}

// Memory that a thread keeps for its next call: fresh pages would cost a fault each. In huge pages where the system has
// them: what just fits into the L2 cache would otherwise collide there, or not, as chance has laid its pages.
class Arena {
 public:
  ~Arena() { release(); }
  // Begins a call that takes at most so many floats in at most 16 pieces.
  void begin(int64_t floats) {
    const int64_t needed = floats + 16 * 16;
    used_ = 0;
    if (capacity_ >= needed) return;
    release();
    memory_ = nullptr, capacity_ = 0;
    const int64_t bytes = (needed * sizeof(float) + kHugePage - 1) / kHugePage * kHugePage;
    memory_ = static_cast<float*>(::operator new[](bytes, std::align_val_t(kHugePage)));
#ifdef __linux__
    madvise(memory_, bytes, MADV_HUGEPAGE);
#endif
    capacity_ = bytes / sizeof(float);
  }
  // Ends a call: what a large one took goes back to the system.
  void end() {
    if (capacity_ <= kKept) return;
    release();
    memory_ = nullptr, capacity_ = 0;
  }
  float* take(int64_t floats) {
    float* piece = memory_ + used_;
    used_ += (floats + 15) / 16 * 16;
    return piece;
  }

 private:
  static constexpr int64_t kHugePage = 1 << 21;
  static constexpr int64_t kKept = 1 << 24;  // floats, 64 MiB: beside the work of more, faults cost little
  void release() { ::operator delete[](memory_, std::align_val_t(kHugePage)); }
  float* memory_ = nullptr;
  int64_t capacity_ = 0, used_ = 0;
};
thread_local Arena call_arena, lane_arena;

// Ends the call's use of an arena where the block that made this one ends, by an exception too.
struct AtEnd {
  Arena& arena;
  ~AtEnd() { arena.end(); }
};

// f(integral_constant of min(n, M)), so that loops over it unroll.
template <int M, class F>
inline void with(int n, F&& f) {
  if constexpr (M > 1)
    if (n < M) return with<M - 1>(n, f);
  f(std::integral_constant<int, M>{});
}

// f(first, height) for blocks of rows of nearly equal height, at most kRows.
template <class F>
inline void blocks(int rows, F&& f) {
  for (int count = (rows + kRows - 1) / kRows, first = 0; count > 0; --count) {
    const int height = (rows - first + count - 1) / count;
    with<kRows>(height, [&](auto m) { f(first, m); });
    first += height;
  }
}

// c[m][n] += Σ_k a[m · a_row + k · a_step] b[k · b_step + n], c in registers.
template <int M, int N, int64_t kChain = kSum>
inline __attribute__((always_inline)) void product(int64_t depth, const float* a, int64_t a_row, int64_t a_step,
                                                   const float* b, int64_t b_step, Vector (&c)[M][N]) {
  while (depth > 0) {
    const int64_t block = (depth + (depth - 1) / kChain) / ((depth - 1) / kChain + 1);
    Vector sum[M][N] = {};
    for (int64_t k = 0; k < block; ++k, a += a_step, b += b_step) {
      Vector right[N];
      for (int n = 0; n < N; ++n) right[n] = load(b + n * kLanes);
      for (int m = 0; m < M; ++m)
        for (int n = 0; n < N; ++n) sum[m][n] += a[m * a_row] * right[n];
    }
    for (int m = 0; m < M; ++m)
      for (int n = 0; n < N; ++n) c[m][n] += sum[m][n];
    depth -= block;
  }
}

// c [rows, columns] += a b, columns whole vectors; b_tile is what lies between one tile of b's columns and the next.
void add_product(int rows, int64_t columns, int64_t depth, const float* a, int64_t a_row, int64_t a_step,
                 const float* b, int64_t b_step, int64_t b_tile, float* c, int64_t c_row) {
  for (int64_t first = 0; first < columns; first += kTile, b += b_tile) {
    with<4>((columns - first) / kLanes, [&](auto width) {
      constexpr int N = decltype(width)::value;
      blocks(rows, [&](int top, auto height) {
        constexpr int M = decltype(height)::value;
        float* corner = c + top * c_row + first;
        Vector sum[M][N] = {};
        product<M, N>(depth, a + top * a_row, a_row, a_step, b, b_step, sum);
        for (int m = 0; m < M; ++m)
          for (int n = 0; n < N; ++n) {
            float* to = corner + m * c_row + n * kLanes;
            store(to, load(to) + sum[m][n]);
          }
      });
    });
  }
}

}  // namespace
