// LSTM and GRU over whole sequences on a CPU, forward and backward, called by XLA through its foreign function interface.
//
// A call runs all steps. The batch is cut into lanes, one a thread, and a lane into groups of rows whose state stays in
// the cache: a group walks through time on its own, so that threads meet only at the end. A step is one matrix product
// in tiles that stay in registers until their gates are applied.
//
// All arrays are row-major, sequences batch-major. A row of the product's left side is [x, 1, h]: the biases are the
// weights of the 1.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

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
constexpr int kGroup = 96;         // most rows that walk through time together
constexpr int kDepth = 96;         // least rows, of one step or several, in a product for the weights' gradient
constexpr int64_t kSum = 32;        // most products that are added up in a row: a longer chain rounds more often
constexpr int64_t kWork = 1 << 19;  // least multiply-adds that are worth a thread

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
  const Vector y = clamp(-1.44269504f * x, 126.0f), shifted = y + 12582912.0f;  // 1.5 · 2^23: the lowest bits hold round(y)
  const Vector f = y - (shifted - 12582912.0f);
  Vector p = 1.53533621e-04f * f + 1.33988745e-03f;
  p = p * f + 9.61843736e-03f;
  p = p * f + 5.55033247e-02f;
  p = p * f + 2.40226479e-01f;
  p = p * f + 6.93147203e-01f;
  p = p * f + 1.0f;
  return 1.0f / (1.0f + (Vector)((Integers)p + ((Integers)shifted << 23)));
}

int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }
int64_t tiles(int64_t n) { return (n + kTile - 1) / kTile; }
void copy(float* to, const float* from, int64_t n) { std::memcpy(to, from, sizeof(float) * n); }
void clear(float* to, int64_t n) { std::memset(to, 0, sizeof(float) * n); }

// Memory that a thread keeps for its next call: fresh pages would cost a fault each.
class Arena {
 public:
  ~Arena() { ::operator delete[](memory_, std::align_val_t(64)); }
  // Begins a call that takes at most so many floats in at most 16 pieces.
  void begin(int64_t floats) {
    const int64_t needed = floats + 16 * 16;
    used_ = 0;
    if (capacity_ >= needed) return;
    ::operator delete[](memory_, std::align_val_t(64));
    memory_ = nullptr, capacity_ = 0;
    memory_ = new (std::align_val_t(64)) float[needed];
    capacity_ = needed;
  }
  float* take(int64_t floats) {
    float* piece = memory_ + used_;
    used_ += (floats + 15) / 16 * 16;
    return piece;
  }

 private:
  float* memory_ = nullptr;
  int64_t capacity_ = 0, used_ = 0;
};
thread_local Arena call_arena, lane_arena;

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
template <int M, int N>
inline __attribute__((always_inline)) void product(int64_t depth, const float* a, int64_t a_row, int64_t a_step,
                                                   const float* b, int64_t b_step, Vector (&c)[M][N]) {
  while (depth > 0) {
    const int64_t block = (depth + (depth - 1) / kSum) / ((depth - 1) / kSum + 1);
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

// One call: its arrays, null where a cell or a direction has none of them.
struct Call {
  int64_t b, t, d, h;
  bool reverse;
  const int32_t* lengths;                                        // [b]
  const float *x, *input, *bias, *recurrent, *recurrent_bias;    // [b, t, d], [d, gates h], [gates h], [h, gates h], [h]
  const float *hidden, *cell;                                    // [b, h], before the first step
  float *outputs, *last_hidden, *last_cell;                      // [b, t, h], [b, h]
  float *gates[4], *cells;                                       // [t, b, h]
  const float *d_outputs, *d_last_hidden, *d_last_cell;
  float *d_x, *d_input, *d_bias, *d_recurrent, *d_recurrent_bias, *d_hidden, *d_cell;

  int64_t hp() const { return padded(h); }
  int64_t row() const { return d + 1 + hp(); }  // a row of the left side, its hidden state padded
  int64_t at(int64_t sequence, int64_t step) const { return sequence * t + step; }
  int64_t saved(int64_t sequence, int64_t step) const { return (step * b + sequence) * h; }
  int64_t valid(int64_t sequence) const { return lengths ? std::clamp<int64_t>(lengths[sequence], 0, t) : t; }
};

// What a cell is. `kRecurrentBias`: whether the 1 belongs to the recurrent product too. The gate gradients lie side by
// side in four columns of hp; those of the input product begin with column 0, in the order `kInputGates` of the weights'
// gates, those of the recurrent product with column `kRecurrentFrom`.

// i f g o: c' = f c + i g, h' = o tanh(c').
struct Lstm {
  static constexpr int kGates = 4, kRecurrentFrom = 0, kInputGates[] = {0, 1, 2, 3};
  static constexpr bool kRecurrentBias = false, kCell = true;

  template <int M>
  static inline __attribute__((always_inline)) void products(const Call& s, const float* left, const float* packed,
                                                             Vector (&sum)[M][4]) {
    product<M, 4>(s.d + 1 + s.h, left, s.row(), 1, packed, 4 * kLanes, sum);
  }

  // Activates the gates in place and returns the new hidden state.
  static inline Vector apply(Vector (&gate)[4], Vector, Vector& cell) {
    gate[0] = sigmoid(gate[0]), gate[1] = sigmoid(gate[1]), gate[2] = tanh(gate[2]), gate[3] = sigmoid(gate[3]);
    cell = gate[1] * cell + gate[0] * gate[2];
    return gate[3] * tanh(cell);
  }

  // δc += δh o (1 − tanh² c'); δi = δc g i(1−i), δf = δc c f(1−f), δg = δc i (1−g²), δo = δh tanh(c') o(1−o); δc ← δc f.
  // Returns what of δh reaches the state before without the recurrent product: nothing.
  static inline Vector gradient(const Vector (&gate)[4], Vector before, Vector cell, Vector d_hidden, Vector& d_cell,
                                Vector (&d_gate)[4]) {
    const Vector shown = tanh(cell);
    d_cell += d_hidden * gate[3] * (1.0f - shown * shown);
    d_gate[0] = d_cell * gate[2] * gate[0] * (1.0f - gate[0]);
    d_gate[1] = d_cell * before * gate[1] * (1.0f - gate[1]);
    d_gate[2] = d_cell * gate[0] * (1.0f - gate[2] * gate[2]);
    d_gate[3] = d_hidden * shown * gate[3] * (1.0f - gate[3]);
    d_cell = d_cell * gate[1];
    return Vector{};
  }
};

// r z n, and q = U_n h + b_hn: n = tanh(x_n + r q), h' = n + z (h − n).
struct Gru {
  static constexpr int kGates = 3, kRecurrentFrom = 1, kInputGates[] = {2, 0, 1};
  static constexpr bool kRecurrentBias = true, kCell = false;

  template <int M>
  static inline __attribute__((always_inline)) void products(const Call& s, const float* left, const float* packed,
                                                             Vector (&sum)[M][4]) {
    Vector part[M][3] = {};
    product<M, 3>(s.d + 1, left, s.row(), 1, packed, 3 * kLanes, part);
    Vector x_n[M];
    for (int m = 0; m < M; ++m) x_n[m] = part[m][2], part[m][2] = Vector{};
    product<M, 3>(1 + s.h, left + s.d, s.row(), 1, packed + (s.d + 1) * 3 * kLanes, 3 * kLanes, part);
    for (int m = 0; m < M; ++m)
      sum[m][0] = part[m][0], sum[m][1] = part[m][1], sum[m][2] = x_n[m], sum[m][3] = part[m][2];
  }

  static inline Vector apply(Vector (&gate)[4], Vector hidden, Vector&) {
    gate[0] = sigmoid(gate[0]), gate[1] = sigmoid(gate[1]), gate[2] = tanh(gate[2] + gate[0] * gate[3]);
    return gate[2] + gate[1] * (hidden - gate[2]);
  }

  // δz = δh (h − n) z(1−z), δn = δh (1−z)(1−n²), δr = δn q r(1−r), δq = δn r; δh z reaches the state before.
  // Order of the gradients: n r z q.
  static inline Vector gradient(const Vector (&gate)[4], Vector before, Vector, Vector d_hidden, Vector&,
                                Vector (&d_gate)[4]) {
    d_gate[0] = d_hidden * (1.0f - gate[1]) * (1.0f - gate[2] * gate[2]);
    d_gate[1] = d_gate[0] * gate[3] * gate[0] * (1.0f - gate[0]);
    d_gate[2] = d_hidden * (before - gate[2]) * gate[1] * (1.0f - gate[1]);
    d_gate[3] = d_gate[0] * gate[0];
    return d_hidden * gate[1];
  }
};

// Weights for the forward products: [tiles of kLanes units][rows: input, bias, recurrent][gates][kLanes].
template <class Cell>
int64_t packed_rows(const Call& s) { return s.d + 1 + Cell::kRecurrentBias + s.h; }

template <class Cell>
void pack_forward(const Call& s, float* packed) {
  const int64_t columns = Cell::kGates * s.h;
  for (int64_t j = 0; j < s.h; j += kLanes) {
    const auto pack = [&](const float* line) {
      for (int g = 0; g < Cell::kGates; ++g, packed += kLanes) store(packed, load(line + g * s.h + j, s.h - j));
    };
    for (int64_t k = 0; k < s.d; ++k) pack(s.input + k * columns);
    pack(s.bias);
    if constexpr (Cell::kRecurrentBias) {
      clear(packed, (Cell::kGates - 1) * kLanes);
      packed += (Cell::kGates - 1) * kLanes;
      store(packed, load(s.recurrent_bias + j, s.h - j));
      packed += kLanes;
    }
    for (int64_t k = 0; k < s.h; ++k) pack(s.recurrent + k * columns);
  }
}

// A kernel [lines, gates h] transposed: [tiles of kTile lines][gates hp][kTile], its gates in the given order.
template <class Cell>
void pack_backward(const Call& s, const float* kernel, int64_t lines, const int* gates, float* packed) {
  const int64_t columns = Cell::kGates * s.h;
  for (int64_t first = 0; first < lines; first += kTile)
    for (int g = 0; g < Cell::kGates; ++g)
      for (int64_t u = 0; u < s.hp(); ++u, packed += kTile) {
        const float* from = kernel + first * columns + gates[g] * s.h + u;
        const int64_t n = u < s.h ? std::min<int64_t>(kTile, lines - first) : 0;
        for (int64_t i = 0; i < n; ++i) packed[i] = from[i * columns];
        clear(packed + n, kTile - n);
      }
}

// Groups of a lane: f(first, rows).
template <class F>
void groups(int64_t begin, int64_t end, F&& f) {
  for (int64_t count = (end - begin + kGroup - 1) / kGroup; count > 0; --count) {
    const int rows = (end - begin + count - 1) / count;
    f(begin, rows);
    begin += rows;
  }
}

template <class Cell>
void forward(const Call& s, const float* packed, int64_t begin, int64_t end) {
  const int64_t row = s.row(), hp = s.hp(), tile = packed_rows<Cell>(s) * Cell::kGates * kLanes;
  lane_arena.begin(kGroup * (2 * row + hp));
  float *left[] = {lane_arena.take(kGroup * row), lane_arena.take(kGroup * row)}, *cells = lane_arena.take(kGroup * hp);
  groups(begin, end, [&](int64_t origin, int rows) {
    for (int r = 0; r < rows; ++r) {
      for (float* l : left) {
        clear(l + r * row, row);
        l[r * row + s.d] = 1.0f;
      }
      copy(left[0] + r * row + s.d + 1, s.hidden + (origin + r) * s.h, s.h);
      clear(cells + r * hp, hp);
      if (Cell::kCell) copy(cells + r * hp, s.cell + (origin + r) * s.h, s.h);
    }
    for (int64_t i = 0; i < s.t; ++i) {
      const int64_t step = s.reverse ? s.t - 1 - i : i;
      float *now = left[i % 2], *next = left[(i + 1) % 2];
      for (int r = 0; r < rows; ++r)
        if (step < s.valid(origin + r)) copy(now + r * row, s.x + s.at(origin + r, step) * s.d, s.d);
      for (int64_t j = 0; j < s.h; j += kLanes) {
        const int n = std::min<int64_t>(kLanes, s.h - j);
        blocks(rows, [&](int top, auto height) {
          constexpr int M = decltype(height)::value;
          Vector gate[M][4] = {};
          Cell::template products<M>(s, now + top * row, packed + j / kLanes * tile, gate);
          for (int m = 0; m < M; ++m) {
            const int r = top + m;
            const int64_t at = s.at(origin + r, step);
            const Vector before = load(now + r * row + s.d + 1 + j);
            const bool valid = step < s.valid(origin + r);
            Vector cell = load(cells + r * hp + j);
            const Vector hidden = valid ? Cell::apply(gate[m], before, cell) : before;
            store(next + r * row + s.d + 1 + j, hidden);
            store(s.outputs + at * s.h + j, valid ? hidden : Vector{}, n);
            if (!valid) continue;
            if (Cell::kCell) store(cells + r * hp + j, cell);
            if (!s.gates[0]) continue;
            const int64_t saved = s.saved(origin + r, step) + j;
            for (int g = 0; g < 4; ++g) store(s.gates[g] + saved, gate[m][g], n);
            if (Cell::kCell) store(s.cells + saved, cell, n);
          }
        });
      }
    }
    for (int r = 0; r < rows; ++r) {
      copy(s.last_hidden + (origin + r) * s.h, left[s.t % 2] + r * row + s.d + 1, s.h);
      if (Cell::kCell) copy(s.last_cell + (origin + r) * s.h, cells + r * hp, s.h);
    }
  });
}

// What the lanes of a backward call share, and where each sums its weights' gradient.
template <class Cell>
struct Backward {
  static constexpr int kBias = Cell::kRecurrentBias;
  const Call& s;
  const int64_t columns = Cell::kGates * s.hp();
  float *input = nullptr, *recurrent = nullptr, *sums = nullptr;

  int64_t lane_floats() const { return (s.d + 1 + kBias + s.h) * columns; }
  int64_t input_floats() const { return s.d_x ? tiles(s.d) * columns * kTile : 0; }
  int64_t recurrent_floats() const { return tiles(s.h) * columns * kTile; }

  void pack(int lanes) {
    static constexpr int kInOrder[] = {0, 1, 2, 3};
    call_arena.begin(input_floats() + recurrent_floats() + lanes * lane_floats());
    input = call_arena.take(input_floats());
    recurrent = call_arena.take(recurrent_floats());
    sums = call_arena.take(lanes * lane_floats());
    if (s.d_x) pack_backward<Cell>(s, s.input, s.d, Cell::kInputGates, input);
    pack_backward<Cell>(s, s.recurrent, s.h, kInOrder, recurrent);
  }

  void run(int lane, int64_t begin, int64_t end) const {
    const int64_t row = s.row(), hp = s.hp(), dp = padded(s.d), wide = 4 * hp + kLanes, most = kGroup + kDepth;
    float *input_sum = sums + lane * lane_floats(), *recurrent_sum = input_sum + (s.d + 1) * columns;
    clear(input_sum, lane_floats());
    lane_arena.begin(most * (row + wide) + kGroup * (2 * hp + dp));
    float *left = lane_arena.take(most * row), *d_gates = lane_arena.take(most * wide);
    float *d_hidden = lane_arena.take(kGroup * hp), *d_cell = lane_arena.take(kGroup * hp);
    float* d_x = lane_arena.take(kGroup * dp);
    groups(begin, end, [&](int64_t origin, int rows) {
      clear(d_hidden, rows * hp);
      clear(d_cell, rows * hp);
      for (int r = 0; r < rows; ++r) {
        copy(d_hidden + r * hp, s.d_last_hidden + (origin + r) * s.h, s.h);
        if (Cell::kCell) copy(d_cell + r * hp, s.d_last_cell + (origin + r) * s.h, s.h);
      }
      int waiting = 0;  // rows whose gate gradients have not met the weights yet
      for (int64_t i = s.t - 1; i >= 0; --i) {
        const int64_t step = s.reverse ? s.t - 1 - i : i;
        float *now = left + waiting * row, *d_now = d_gates + waiting * wide;
        for (int r = 0; r < rows; ++r)
          of_row(origin + r, step, now + r * row, d_now + r * wide, d_hidden + r * hp, d_cell + r * hp);
        add_product(rows, hp, columns, d_now + Cell::kRecurrentFrom * hp, wide, 1, recurrent, kTile, columns * kTile,
                    d_hidden, hp);
        if (s.d_x) {
          clear(d_x, rows * dp);
          add_product(rows, dp, columns, d_now, wide, 1, input, kTile, columns * kTile, d_x, dp);
          for (int r = 0; r < rows; ++r) copy(s.d_x + s.at(origin + r, step) * s.d, d_x + r * dp, s.d);
        }
        waiting += rows;
        if (waiting < kDepth && i > 0) continue;
        add_product(s.d + 1, columns, waiting, left, 1, row, d_gates, wide, kTile, input_sum, columns);
        add_product(kBias + s.h, columns, waiting, left + s.d + 1 - kBias, 1, row, d_gates + Cell::kRecurrentFrom * hp,
                    wide, kTile, recurrent_sum, columns);
        waiting = 0;
      }
      for (int r = 0; r < rows; ++r) {
        copy(s.d_hidden + (origin + r) * s.h, d_hidden + r * hp, s.h);
        if (Cell::kCell) copy(s.d_cell + (origin + r) * s.h, d_cell + r * hp, s.h);
      }
    });
  }

  // The left side that a sequence had at a step, and the gradient of its gates; past its length both are zero.
  void of_row(int64_t sequence, int64_t step, float* left, float* d_gates, float* d_hidden, float* d_cell) const {
    const int64_t hp = s.hp(), valid = s.valid(sequence), at = s.at(sequence, step), saved = s.saved(sequence, step);
    if (step >= valid) {
      clear(left, s.row());
      clear(d_gates, 4 * hp);
      return;
    }
    const int64_t before = s.reverse ? step + 1 : step - 1;
    const bool first = before < 0 || before >= valid;
    const float* hidden = first ? s.hidden + sequence * s.h : s.outputs + s.at(sequence, before) * s.h;
    const float* state = !Cell::kCell ? hidden : first ? s.cell + sequence * s.h : s.cells + s.saved(sequence, before);
    copy(left, s.x + at * s.d, s.d);
    left[s.d] = 1.0f;
    copy(left + s.d + 1, hidden, s.h);
    for (int64_t j = 0; j < s.h; j += kLanes) {
      const int n = std::min<int64_t>(kLanes, s.h - j);
      Vector gate[4], d_gate[4], d_c = load(d_cell + j);
      for (int g = 0; g < 4; ++g) gate[g] = load(s.gates[g] + saved + j, n);
      const Vector cell = Cell::kCell ? load(s.cells + saved + j, n) : Vector{};
      const Vector d_h = load(d_hidden + j) + load(s.d_outputs + at * s.h + j, n);
      store(d_hidden + j, Cell::gradient(gate, load(state + j, n), cell, d_h, d_c, d_gate));
      store(d_cell + j, d_c);
      for (int g = 0; g < 4; ++g) store(d_gates + g * hp + j, d_gate[g]);
    }
  }

  // Adds up the lanes, always in the same order.
  void sum(int lanes) const {
    const auto line = [&](int64_t k, int block, float* to) {
      for (int64_t j = 0; j < s.h; j += kLanes) {
        Vector total{};
        for (int lane = 0; lane < lanes; ++lane)
          total += load(sums + lane * lane_floats() + k * columns + block * s.hp() + j);
        store(to + j, total, std::min<int64_t>(kLanes, s.h - j));
      }
    };
    for (int g = 0; g < Cell::kGates; ++g) {
      const int64_t to = Cell::kInputGates[g] * s.h;
      for (int64_t k = 0; k < s.d; ++k) line(k, g, s.d_input + k * Cell::kGates * s.h + to);
      line(s.d, g, s.d_bias + to);
      for (int64_t k = 0; k < s.h; ++k)
        line(s.d + 1 + kBias + k, g, s.d_recurrent + (k * Cell::kGates + g) * s.h);
    }
    if (kBias) line(s.d + 1, Cell::kGates - 1, s.d_recurrent_bias);
  }
};

int lanes_of(const ffi::ThreadPool& pool, const Call& s) {
  const int64_t work = s.b * s.t * (s.d + s.h) * 4 * s.h;
  return std::max<int64_t>(1, std::min({pool.num_threads(), work / kWork, s.b / 2}));
}

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// f(lane, begin, end) for every lane. The caller works too, and waits only for lanes that a thread has begun: a pool
// whose threads are busy, perhaps with a call that waits for this one, delays nothing.
template <class F>
void in_lanes(ffi::ThreadPool& pool, int lanes, int64_t rows, F&& f) {
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
  // Lanes are of one size: the others are nearly done, and sleeping would take longer.
  for (int i = 0; i < 20000 && progress->done.load() < lanes; ++i) pause();
  std::unique_lock<std::mutex> lock(progress->mutex);
  progress->finished.wait(lock, [&] { return progress->done.load() == lanes; });
}

using Input = ffi::Buffer<ffi::F32>;
using Lengths = ffi::Buffer<ffi::S32>;
using Output = ffi::Result<ffi::Buffer<ffi::F32>>;

float* data(Output& array) { return array->element_count() ? array->typed_data() : nullptr; }

Call call_of(Input x, Input input, Input bias, Input recurrent, Input recurrent_bias, Input hidden, Input cell,
             Lengths lengths, bool reverse) {
  Call s{};
  s.b = x.dimensions()[0], s.t = x.dimensions()[1], s.d = x.dimensions()[2], s.h = hidden.dimensions()[1];
  s.reverse = reverse;
  s.lengths = lengths.element_count() ? lengths.typed_data() : nullptr;
  s.x = x.typed_data(), s.input = input.typed_data(), s.bias = bias.typed_data();
  s.recurrent = recurrent.typed_data(), s.recurrent_bias = recurrent_bias.typed_data();
  s.hidden = hidden.typed_data(), s.cell = cell.typed_data();
  return s;
}

template <class Cell>
ffi::Error Forward(ffi::ThreadPool pool, Input x, Input input, Input bias, Input recurrent, Input recurrent_bias,
                   Input hidden, Input cell, Lengths lengths, Output outputs, Output last_hidden, Output last_cell,
                   Output gate0, Output gate1, Output gate2, Output gate3,
                   Output cells, bool reverse) {
  Call s = call_of(x, input, bias, recurrent, recurrent_bias, hidden, cell, lengths, reverse);
  s.outputs = data(outputs), s.last_hidden = data(last_hidden), s.last_cell = data(last_cell);
  s.gates[0] = data(gate0), s.gates[1] = data(gate1), s.gates[2] = data(gate2), s.gates[3] = data(gate3);
  s.cells = data(cells);
  const int64_t floats = s.hp() * packed_rows<Cell>(s) * Cell::kGates;
  call_arena.begin(floats);
  float* packed = call_arena.take(floats);
  pack_forward<Cell>(s, packed);
  in_lanes(pool, lanes_of(pool, s), s.b,
           [&](int, int64_t begin, int64_t end) { forward<Cell>(s, packed, begin, end); });
  return ffi::Error::Success();
}

template <class Cell>
ffi::Error Backprop(ffi::ThreadPool pool, Input x, Input input, Input bias, Input recurrent, Input recurrent_bias,
                    Input hidden, Input cell, Lengths lengths, Input outputs, Input gate0, Input gate1, Input gate2,
                    Input gate3, Input cells, Input d_outputs,
                    Input d_last_hidden, Input d_last_cell, Output d_x, Output d_input, Output d_bias,
                    Output d_recurrent, Output d_recurrent_bias, Output d_hidden, Output d_cell, bool reverse) {
  Call s = call_of(x, input, bias, recurrent, recurrent_bias, hidden, cell, lengths, reverse);
  s.outputs = outputs.typed_data(), s.cells = cells.typed_data();
  s.gates[0] = gate0.typed_data(), s.gates[1] = gate1.typed_data();
  s.gates[2] = gate2.typed_data(), s.gates[3] = gate3.typed_data();
  s.d_outputs = d_outputs.typed_data(), s.d_last_hidden = d_last_hidden.typed_data();
  s.d_last_cell = d_last_cell.typed_data();
  s.d_x = data(d_x), s.d_input = data(d_input), s.d_bias = data(d_bias), s.d_recurrent = data(d_recurrent);
  s.d_recurrent_bias = data(d_recurrent_bias), s.d_hidden = data(d_hidden), s.d_cell = data(d_cell);
  const int lanes = lanes_of(pool, s);
  Backward<Cell> backward{s};
  backward.pack(lanes);
  in_lanes(pool, lanes, s.b,
           [&](int lane, int64_t begin, int64_t end) { backward.run(lane, begin, end); });
  backward.sum(lanes);
  return ffi::Error::Success();
}

using Array = ffi::Buffer<ffi::F32>;

// x, weights and state.
auto inputs() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>()
      .Arg<Lengths>();
}

auto forward_binding() {
  return inputs()
      .Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>()
      .Attr<bool>("reverse");
}

auto backward_binding() {
  return inputs()
      .Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>()
      .Arg<Array>()
      .Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>()
      .Attr<bool>("reverse");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(LstmForward, Forward<Lstm>, forward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(LstmBackward, Backprop<Lstm>, backward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(GruForward, Forward<Gru>, forward_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(GruBackward, Backprop<Gru>, backward_binding());
