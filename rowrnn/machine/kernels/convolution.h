// Convolutions of a batch of images, forward and both gradients, as products with windows of padded rows.
//
// Arrays are row-major: images [b, h, w, i], kernels [kh, kw, i, o], feature maps [b, y, x, o]. The kw columns that an
// output sees are kw · i numbers in a line, so that a row of outputs is kh products [x, kw · i] [kw · i, o], and
// nothing is copied but one row at a time, with the zeros around it. Each thread takes a part of all rows.
#pragma once

#include <vector>

#include "threads.h"
#include "tile.h"

namespace {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

// Most rows of a tile of N vectors whose sums stay in registers beside a row of the right side and a number of the
// left.
template <int N>
constexpr int tallest() {
  return std::min(14, (kRegisters - N - 2) / N);
}

// c[m · c_row + n] = Σ for all tiles of [rows, columns], or with kAdd +=: accumulate(top, first, sum) adds the products
// of the tile whose corner is c[top · c_row + first].
template <bool kAdd, class F>
void in_tiles(int64_t rows, int64_t columns, float* c, int64_t c_row, F&& accumulate) {
  for (int64_t first = 0; first < columns; first += kTile) {
    const int64_t wide = std::min<int64_t>(kTile, columns - first);
    with<4>((wide + kLanes - 1) / kLanes, [&](auto width) {
      constexpr int N = decltype(width)::value;
      int64_t top = 0;
      for (int64_t count = (rows + tallest<N>() - 1) / tallest<N>(); count > 0; --count) {
        with<tallest<N>()>((rows - top + count - 1) / count, [&](auto height) {
          constexpr int M = decltype(height)::value;
          Vector sum[M][N] = {};
          accumulate(top, first, sum);
          float* corner = c + top * c_row + first;
          for (int m = 0; m < M; ++m)
            for (int n = 0; n < N; ++n) {
              float* to = corner + m * c_row + n * kLanes;
              const int lanes = std::min<int64_t>(kLanes, wide - n * kLanes);
              store(to, kAdd ? load(to, lanes) + sum[m][n] : sum[m][n], lanes);
            }
          top += M;
        });
      }
    });
  }
}

struct Convolution {
  int64_t b, h, w, i;  // images
  int64_t kh, kw, o;   // kernel
  int64_t y, x;        // feature maps
  int64_t sy, sx;      // strides
  int64_t top, left;   // zeros above and to the left; below and to the right as many as the maps need
  const float* images = nullptr;
  const float* kernel = nullptr;
  const float* maps = nullptr;

  int64_t window() const { return kw * i; }
  int64_t seen() const { return (x - 1) * sx + kw; }  // columns of a padded row that outputs see

  int lanes(const xla::ffi::ThreadPool& pool, int64_t rows) const {
    const int64_t work = b * y * x * kh * window() * o;
    return std::max<int64_t>(1, std::min({pool.num_threads(), work / kLeast, rows}));
  }

  void forward(xla::ffi::ThreadPool& pool, float* to) const {
    const AtEnd at_end{call_arena};
    call_arena.begin(kh * window() * padded(o));
    const float* packed = packed_kernel();
    in_lanes(pool, lanes(pool, b * y), b * y, [&](int, int64_t begin, int64_t end) {
      const AtEnd at_end{lane_arena};
      lane_arena.begin(kh * seen() * i);
      Rows rows(*this);
      for (int64_t line = begin; line < end; ++line) {
        rows.read(line / y, line % y);
        in_tiles<false>(x, o, to + line * x * o, o, [&](int64_t first_x, int64_t first, auto& sum) {
          for (int64_t ky = 0; ky < kh; ++ky)
            if (rows[ky])
              add(window(), rows[ky] + first_x * sx * i, sx * i, 1, packed + ky * window() * padded(o) + first,
                  padded(o), sum);
        });
      }
    });
  }

  // The gradient of the images. Columns c with (c + left) mod sx = p, a phase, see the taps p, p + sx, ... of a kernel.
  void input_gradient(xla::ffi::ThreadPool& pool, float* to) const {
    const AtEnd at_end{call_arena};
    call_arena.begin(kh * kw * o * padded(i));
    const float* turned = turned_kernel();
    const int64_t before = (kw - 1) / sx, wide = before + std::max(x, (w - 1 + left) / sx + 1);
    in_lanes(pool, lanes(pool, b * h), b * h, [&](int, int64_t begin, int64_t end) {
      const AtEnd at_end{lane_arena};
      lane_arena.begin(kh * wide * o);
      float* scratch = lane_arena.take(kh * wide * o);
      std::vector<const float*> rows(kh);
      for (int64_t line = begin; line < end; ++line) {
        for (int64_t ky = 0; ky < kh; ++ky) {
          const int64_t below = line % h + top - ky;
          const bool meets = below >= 0 && below % sy == 0 && below / sy < y;
          float* row = scratch + ky * wide * o;
          rows[ky] = meets ? row : nullptr;
          if (meets) pad(maps + (line / h * y + below / sy) * x * o, x * o, row, before * o, wide * o);
        }
        for (int64_t p = 0; p < sx; ++p) {
          const int64_t c = ((p - left) % sx + sx) % sx, taps = taps_of(p);
          if (c >= w) continue;
          const int64_t start = before + (c + left) / sx - (taps - 1);
          in_tiles<false>((w - c + sx - 1) / sx, i, to + (line * w + c) * i, sx * i,
                          [&](int64_t column, int64_t first, auto& sum) {
                            for (int64_t ky = 0; ky < kh; ++ky)
                              if (rows[ky] && taps)
                                add(taps * o, rows[ky] + (start + column) * o, o, 1,
                                    turned + turned_row(p, ky) * padded(i) + first, padded(i), sum);
                          });
        }
      }
    });
  }

  void kernel_gradient(xla::ffi::ThreadPool& pool, float* to) const {
    const int64_t size = kh * window() * padded(o);
    const int parts = lanes(pool, b * y);
    const AtEnd at_end{call_arena};
    call_arena.begin(parts * size);
    float* sums = call_arena.take(parts * size);
    in_lanes(pool, parts, b * y, [&](int lane, int64_t begin, int64_t end) {
      float* own = sums + lane * size;
      clear(own, size);
      const AtEnd at_end{lane_arena};
      lane_arena.begin(kh * seen() * i + x * padded(o));
      Rows rows(*this);
      float* scratch = lane_arena.take(x * padded(o));
      for (int64_t line = begin; line < end; ++line) {
        rows.read(line / y, line % y);
        const float* gradient = maps + line * x * o;
        if (o % kLanes) {
          for (int64_t column = 0; column < x; ++column)
            pad(gradient + column * o, o, scratch + column * padded(o), 0, padded(o));
          gradient = scratch;
        }
        for (int64_t ky = 0; ky < kh; ++ky)
          if (rows[ky])
            in_tiles<true>(window(), padded(o), own + ky * window() * padded(o), padded(o),
                           [&](int64_t place, int64_t first, auto& sum) {
                             add(x, rows[ky] + place, 1, sx * i, gradient + first, padded(o), sum);
                           });
      }
    });
    in_lanes(pool, parts, kh * window(), [&](int, int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        for (int64_t n = 0; n < o; n += kLanes) {
          Vector total{};
          for (int lane = 0; lane < parts; ++lane) total += load(sums + lane * size + row * padded(o) + n);
          store(to + row * o + n, total, std::min<int64_t>(kLanes, o - n));
        }
    });
  }

 private:
  // As `product`, with chains as long as torch's. The sums of a tile fill the registers: where a chain ends, they are
  // added up in memory.
  template <int M, int N>
  static inline __attribute__((always_inline)) void add(int64_t depth, const float* a, int64_t a_row, int64_t a_step,
                                                        const float* b, int64_t b_step, Vector (&sum)[M][N]) {
    product<M, N, 256>(depth, a, a_row, a_step, b, b_step, sum);
  }

  static constexpr int64_t kLeast = 1 << 17;  // multiply-adds that are worth a thread

  // The rows of an image that a row of outputs sees, padded; those outside the image are null.
  class Rows {
   public:
    explicit Rows(const Convolution& s) : s_(s), rows_(s.kh), scratch_(lane_arena.take(s.kh * s.seen() * s.i)) {}
    const float* operator[](int64_t ky) const { return rows_[ky]; }
    void read(int64_t image, int64_t y) {
      for (int64_t ky = 0; ky < s_.kh; ++ky) {
        const int64_t line = y * s_.sy + ky - s_.top;
        const float* from = s_.images + (image * s_.h + line) * s_.w * s_.i;
        float* padded = scratch_ + ky * s_.seen() * s_.i;
        if (line < 0 || line >= s_.h) {
          rows_[ky] = nullptr;
        } else if (s_.left == 0 && s_.seen() <= s_.w) {
          rows_[ky] = from;
        } else {
          rows_[ky] = padded;
          pad(from, s_.w * s_.i, padded, s_.left * s_.i, s_.seen() * s_.i);
        }
      }
    }

   private:
    const Convolution& s_;
    std::vector<const float*> rows_;
    float* scratch_;
  };

  // to[n] for n < wide: zeros, and from its place on the row, as far as there is room.
  static void pad(const float* from, int64_t count, float* to, int64_t place, int64_t wide) {
    const int64_t start = std::min(place, wide), shown = std::min(count, wide - start);
    clear(to, start);
    copy(to + start, from, shown);
    clear(to + start + shown, wide - start - shown);
  }

  // The kernel with whole vectors of outputs.
  const float* packed_kernel() const {
    if (o % kLanes == 0) return kernel;
    float* packed = call_arena.take(kh * window() * padded(o));
    for (int64_t row = 0; row < kh * window(); ++row) pad(kernel + row * o, o, packed + row * padded(o), 0, padded(o));
    return packed;
  }

  int64_t taps_of(int64_t phase) const { return phase < kw ? (kw - phase + sx - 1) / sx : 0; }

  // First row of a phase and a kernel's row in the turned kernel.
  int64_t turned_row(int64_t phase, int64_t ky) const {
    int64_t taps = 0;
    for (int64_t p = 0; p < phase; ++p) taps += taps_of(p);
    return (kh * taps + ky * taps_of(phase)) * o;
  }

  // The kernel by phase, row and tap, the last tap first, [taps, o, i] with whole vectors of inputs.
  const float* turned_kernel() const {
    float* turned = call_arena.take(kh * kw * o * padded(i));
    clear(turned, kh * kw * o * padded(i));
    for (int64_t p = 0; p < sx; ++p)
      for (int64_t ky = 0; ky < kh; ++ky)
        for (int64_t tap = 0; tap < taps_of(p); ++tap) {
          const float* from = kernel + (ky * kw + p + (taps_of(p) - 1 - tap) * sx) * i * o;
          float* rows = turned + (turned_row(p, ky) + tap * o) * padded(i);
          for (int64_t n = 0; n < o; ++n)
            for (int64_t k = 0; k < i; ++k) rows[n * padded(i) + k] = from[k * o + n];
        }
    return turned;
  }
};

}  // namespace
