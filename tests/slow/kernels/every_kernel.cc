// Runs every kernel over shapes of all kinds, on pools of one to three threads, under a sanitizer: each array has
// exactly the numbers that it needs, results are filled with NaN before, and must be finite after.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "backward.h"
#include "convolution.h"
#include "maps.h"
#include "staged.h"

namespace {

using Pool = xla::ffi::ThreadPool;

// The arrays of one call.
class Arrays {
 public:
  float* drawn(int64_t n, float low = -0.5f, float high = 0.5f) {
    float* array = room(n);
    std::uniform_real_distribution<float> numbers(low, high);
    for (int64_t i = 0; i < n; ++i) array[i] = numbers(random_);
    return array;
  }
  int32_t* marks(int64_t n, int below) {
    whole_.push_back(std::make_unique<int32_t[]>(n));
    for (int64_t i = 0; i < n; ++i) whole_.back()[i] = static_cast<int32_t>(random_() % below);
    return whole_.back().get();
  }
  // For a result; null where it is empty, as for a cell that has none.
  float* result(int64_t n) {
    if (n == 0) return nullptr;
    results_.emplace_back(room(n), n);
    return results_.back().first;
  }

  void check(const char* what) const {
    for (const auto& [array, n] : results_)
      for (int64_t i = 0; i < n; ++i)
        if (!std::isfinite(array[i])) {
          std::fprintf(stderr, "%s: number %lld of %lld is not written\n", what, static_cast<long long>(i),
                       static_cast<long long>(n));
          std::exit(1);
        }
  }

 private:
  float* room(int64_t n) {
    arrays_.push_back(std::make_unique<float[]>(n));
    std::fill_n(arrays_.back().get(), n, NAN);
    return arrays_.back().get();
  }
  std::minstd_rand random_{7};
  std::vector<std::unique_ptr<float[]>> arrays_;
  std::vector<std::unique_ptr<int32_t[]>> whole_;
  std::vector<std::pair<float*, int64_t>> results_;
};

struct Sizes {
  int64_t b, t, d, h;
};

template <class Cell>
void sequences(Pool& pool, Sizes z, bool marked) {
  const auto [b, t, d, h] = z;
  const int64_t gates = Cell::kGates, of_cell = Cell::kCell ? b * h : 0;
  Arrays a;
  Call s{};
  s.b = b, s.t = t, s.d = d, s.h = h, s.reverse = marked;
  if (marked) s.lengths = a.marks(b, t + 1), s.resets = a.marks(b * t, 2), s.dropout = a.drawn(b * h, 0.0f, 2.0f);
  if (marked) s.hold_hidden = a.drawn(b * t * h, 0.0f, 1.0f), s.hold_cell = a.drawn(t * of_cell, 0.0f, 1.0f);
  s.x = a.drawn(b * t * d), s.input = a.drawn(d * gates * h), s.bias = a.drawn(gates * h);
  s.recurrent = a.drawn(h * gates * h, -0.1f, 0.1f), s.own = a.drawn((Cell::kRecurrentBias + Cell::kPeepholes) * h);
  s.hidden = a.drawn(b * h), s.cell = a.drawn(of_cell);
  s.outputs = a.result(b * t * h), s.last_hidden = a.result(b * h), s.last_cell = a.result(of_cell);
  Forward<Cell>{s}.run(pool);
  for (int k = 0; k < Cell::kSaved; ++k) s.gates[k] = a.result(b * t * h);
  s.cells = a.result(t * of_cell);
  Forward<Cell>{s}.run(pool);
  s.d_outputs = a.drawn(b * t * h), s.d_last_hidden = a.drawn(b * h), s.d_last_cell = a.drawn(of_cell);
  if (marked && Cell::kCell) s.d_cells = a.drawn(t * of_cell);
  s.d_x = marked ? nullptr : a.result(b * t * d);
  s.d_input = a.result(d * gates * h), s.d_bias = a.result(gates * h), s.d_recurrent = a.result(h * gates * h);
  s.d_own = a.result((Cell::kRecurrentBias + Cell::kPeepholes) * h);
  s.d_hidden = a.result(b * h), s.d_cell = a.result(of_cell);
  Backward<Cell>{s}.run(pool);
  a.check("a sequence");
}

template <class Cell>
void stages(Pool& pool, Sizes z, bool marked) {
  const auto [b, t, _, h] = z;
  const bool projects = std::is_same_v<Cell, ProjectedLstm>, normalizes = Cell::kOwn > 0;
  const int64_t o = projects ? (h + 2) / 3 : h, gates = Cell::kGates, first = Cell::kFirst;
  const int64_t of_cell = Cell::kCell ? b * h : 0;
  Arrays a;
  StagedCall s{};
  s.b = b, s.t = t, s.o = o, s.h = h, s.reverse = marked, s.others = projects ? o : normalizes ? first * h : 0;
  if (marked) s.lengths = a.marks(b, t + 1), s.resets = a.marks(b * t, 2), s.dropout = a.drawn(b * o, 0.0f, 2.0f);
  s.projected = a.drawn(b * t * gates * h), s.first = a.drawn(o * first * h, -0.1f, 0.1f);
  s.second = a.drawn(Cell::kSecond * h * o, -0.1f, 0.1f), s.own = a.drawn(Cell::kOwn * h);
  s.hidden = a.drawn(b * o), s.cell = a.drawn(of_cell);
  s.outputs = a.result(b * t * o), s.last_hidden = a.result(b * o), s.last_cell = a.result(of_cell);
  StagedForward<Cell>{s}.run(pool);
  s.kept = a.result(b * t * Cell::kGates * h), s.cells = a.result(t * of_cell);
  StagedForward<Cell>{s}.run(pool);
  s.d_outputs = a.drawn(b * t * o), s.d_last_hidden = a.drawn(b * o), s.d_last_cell = a.drawn(of_cell);
  if (marked && Cell::kCell) s.d_cells = a.drawn(t * of_cell);
  s.d_projected = a.result(b * t * gates * h), s.d_other = a.result(b * t * s.others);
  s.d_own = a.result(b * Cell::kOwn * h), s.d_hidden = a.result(b * o), s.d_cell = a.result(of_cell);
  s.left = a.result(b * t * o), s.left_of_second = a.result(Cell::kSecond * b * t * h);
  StagedBackward<Cell>{s}.run(pool);
  a.check("a step of stages");
}

template <class Cell>
void maps(Pool& pool, MapCall s) {
  const int64_t places = s.b * s.y * s.x, gates = Cell::kGates, of_cell = Cell::kCell ? places * s.h : 0;
  Arrays a;
  s.projected = a.drawn(s.t * places * gates * s.h);
  s.recurrent = a.drawn(s.kernel_y * s.kernel_x * s.h * gates * s.h, -0.1f, 0.1f);
  s.recurrent_bias = a.drawn(Cell::kRecurrentBias * s.h);
  s.hidden = a.drawn(places * s.h), s.cell = a.drawn(of_cell);
  s.outputs = a.result(s.t * places * s.h), s.last_hidden = a.result(places * s.h), s.last_cell = a.result(of_cell);
  MapForward<Cell>{s}.run(pool);
  s.gates = a.result(s.t * places * 4 * s.h), s.cells = a.result(s.t * of_cell);
  MapForward<Cell>{s}.run(pool);
  s.d_outputs = a.drawn(s.t * places * s.h), s.d_last_hidden = a.drawn(places * s.h), s.d_last_cell = a.drawn(of_cell);
  s.d_projected = a.result(s.t * places * gates * s.h);
  s.d_recurrent = a.result(s.kernel_y * s.kernel_x * s.h * gates * s.h);
  s.d_recurrent_bias = a.result(Cell::kRecurrentBias * s.h);
  s.d_hidden = a.result(places * s.h), s.d_cell = a.result(of_cell);
  MapBackward<Cell>{s}.run(pool);
  a.check("a map");
}

void convolve(Pool& pool, Convolution s) {
  Arrays a;
  const int64_t images = s.b * s.h * s.w * s.i, kernel = s.kh * s.kw * s.i * s.o, maps = s.b * s.y * s.x * s.o;
  s.images = a.drawn(images), s.kernel = a.drawn(kernel), s.maps = a.drawn(maps);
  s.forward(pool, a.result(maps));
  s.input_gradient(pool, a.result(images));
  s.kernel_gradient(pool, a.result(kernel));
  a.check("a convolution");
}

}  // namespace

int main() {
  // Of one and of few sequences, whose units are shared; of many, in lanes and groups; narrower and wider than a
  // vector.
  const Sizes sizes[] = {{0, 3, 2, 16},   {1, 1, 1, 1},    {3, 4, 2, 5},    {2, 40, 21, 64}, {4, 3, 70, 48},
                         {37, 6, 21, 37}, {230, 2, 3, 16}, {9, 3, 70, 129}, {3, 9, 21, 33}};
  // Images, steps, height, width, units, the kernel's height and width, and where it begins above and to the left.
  const MapCall of_maps[] = {{3, 3, 4, 6, 5, 3, 3, 1, 1}, {2, 3, 2, 9, 37, 1, 5, 0, 2}, {4, 2, 7, 2, 16, 5, 1, 2, 0},
                             {2, 2, 2, 2, 3, 5, 5, 2, 2}, {3, 2, 1, 1, 70, 3, 3, 1, 1}, {33, 4, 5, 5, 8, 3, 3, 1, 1}};
  // Images, height, width, channels; the kernel's height, width and channels; height and width of the maps; strides;
  // zeros above and to the left.
  const Convolution convolutions[] = {
      {2, 9, 11, 3, 3, 3, 5, 9, 11, 1, 1, 1, 1},     {3, 8, 10, 16, 5, 3, 33, 4, 5, 2, 2, 2, 1},
      {40, 14, 14, 8, 3, 3, 16, 14, 14, 1, 1, 1, 1}, {1, 1, 40, 1, 1, 7, 70, 1, 20, 1, 2, 0, 3},
      {2, 5, 5, 2, 1, 1, 4, 5, 5, 1, 1, 0, 0},       {2, 6, 7, 3, 2, 4, 17, 2, 3, 3, 2, 0, 0}};
  for (int threads = 1; threads <= 3; ++threads) {
    Pool pool(threads);
    for (const Sizes& z : sizes)
      for (bool marked : {false, true}) {
        sequences<Elman>(pool, z, marked), sequences<Lstm>(pool, z, marked);
        sequences<PeepholeLstm>(pool, z, marked), sequences<Gru>(pool, z, marked);
        stages<Mgu>(pool, z, marked), stages<ResetFirstGru>(pool, z, marked), stages<ProjectedLstm>(pool, z, marked);
        stages<LayerNormLstm>(pool, z, marked), stages<LayerNormGru>(pool, z, marked);
      }
    for (MapCall s : of_maps) {
      maps<Lstm>(pool, s), maps<Gru>(pool, s);
      s.reverse = true;
      maps<Lstm>(pool, s);
    }
    for (const Convolution& s : convolutions) convolve(pool, s);
  }
}
