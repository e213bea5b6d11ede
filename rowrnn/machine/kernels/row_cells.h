// Cells whose step needs all units of a sequence between its products: where one gate enters a second product, the output
// is projected, or gates are normalized.
//
// A step is `enter`, after the product of the hidden state, and `leave`, after the second product where there is one; the
// gradients are taken the other way. What a step reads of its input is projected before.
#pragma once

#include <cmath>

#include "cells.h"

namespace {

// f(j, n) for each vector of units: they begin with j, n of its lanes are units.
template <class F>
inline void units(int64_t h, F&& f) {
  for (int64_t j = 0; j < h; j += kLanes) f(j, static_cast<int>(std::min<int64_t>(kLanes, h - j)));
}

// One sequence at one step. Rows of padded arrays are zero beyond the units.
struct RowStep {
  int64_t o, h, hp;               // size of the hidden state, units, units padded
  const float *projected, *own;   // [gates, h], [kOwn, h]
  const float *seen, *second;     // what of the hidden state enters products, and the second product, padded
  float *hidden, *cell, *middle;  // the state, to be replaced, and the left side of the second product, padded
  float* product;                 // [first gates, hp]
  float* kept;                    // [kKept, h], null where no gradient is asked for

  void keep(int k, int64_t j, Vector v, int n) const {
    if (kept) store(kept + k * h + j, v, n);
  }
  Vector input(int gate, int64_t j, int n) const { return load(projected + gate * h + j, n); }
};

// Its gradients. `d_hidden` is that of the state after the step, and becomes what of it reaches the state before other
// than through `seen`; `through` is what reaches that, without the first product.
struct RowGradient {
  int64_t o, h, hp;
  const float *own, *kept, *cell_before, *cell;  // [kOwn, h], [kKept, h], [h]
  float *before, *seen;                          // the hidden state before the step, padded
  float *d_hidden, *d_cell, *d_second, *d_middle, *through, *scratch;  // padded
  float* d_product;                                                    // [first gates, hp]
  float *d_projected, *d_own, *d_other;                                // [gates, h], [kOwn, h], as the cell has it
  float* left_of_second;                                               // [h], where there is a second product

  Vector saved(int k, int64_t j, int n) const { return load(kept + k * h + j, n); }
  // The gradient of a gate whose input half and recurrent half are added.
  void of_gate(int gate, int64_t j, Vector d, int n) const {
    store(d_product + gate * hp + j, d);
    of_input(gate, j, d, n);
  }
  void of_input(int gate, int64_t j, Vector d, int n) const { store(d_projected + gate * h + j, d, n); }
  void add_own(int k, int64_t j, Vector d, int n) const {
    float* to = d_own + k * h + j;
    store(to, load(to, n) + d, n);
  }
};

// f = σ(a_f), n = tanh(x_n + U_n (f s)) with s the state that is seen, h' = h + f (n − h).
struct Mgu {
  static constexpr int kGates = 2, kFirst = 1, kOwn = 0, kKept = 2;
  static constexpr bool kCell = false, kSecond = true;

  static void enter(const RowStep& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector f = sigmoid(s.input(0, j, n) + load(s.product + j));
      store(s.product + j, f);
      store(s.middle + j, f * load(s.seen + j));
    });
  }

  static void leave(const RowStep& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector f = load(s.product + j), before = load(s.hidden + j);
      const Vector candidate = tanh(s.input(1, j, n) + load(s.second + j));
      store(s.hidden + j, before + f * (candidate - before));
      s.keep(0, j, f, n), s.keep(1, j, candidate, n);
    });
  }

  // δa_n = δh' f (1 − n²), δm = U_nᵀ δa_n, δa_f = (δh' (n − h) + δm s) f (1 − f); δh' (1 − f) and δm f reach the state.
  static void leave_gradient(const RowGradient& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector f = s.saved(0, j, n), candidate = s.saved(1, j, n);
      const Vector d = load(s.d_hidden + j) * f * (1.0f - candidate * candidate);
      store(s.d_second + j, d);
      s.of_input(1, j, d, n);
    });
  }

  static void enter_gradient(const RowGradient& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector f = s.saved(0, j, n), candidate = s.saved(1, j, n), d_hidden = load(s.d_hidden + j);
      const Vector d_middle = load(s.d_middle + j);
      const Vector d = d_hidden * (candidate - load(s.before + j)) + d_middle * load(s.seen + j);
      s.of_gate(0, j, d * f * (1.0f - f), n);
      store(s.left_of_second + j, f * load(s.seen + j), n);
      store(s.through + j, d_middle * f);
      store(s.d_hidden + j, d_hidden * (1.0f - f));
    });
  }
};

// r = σ(a_r), z = σ(a_z), n = tanh(x_n + U_n (r s)), h' = n + z (h − n).
struct ResetFirstGru {
  static constexpr int kGates = 3, kFirst = 2, kOwn = 0, kKept = 3;
  static constexpr bool kCell = false, kSecond = true;

  static void enter(const RowStep& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector r = sigmoid(s.input(0, j, n) + load(s.product + j));
      store(s.product + s.hp + j, sigmoid(s.input(1, j, n) + load(s.product + s.hp + j)));
      store(s.middle + j, r * load(s.seen + j));
      s.keep(0, j, r, n);
    });
  }

  static void leave(const RowStep& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector z = load(s.product + s.hp + j), before = load(s.hidden + j);
      const Vector candidate = tanh(s.input(2, j, n) + load(s.second + j));
      store(s.hidden + j, candidate + z * (before - candidate));
      s.keep(1, j, z, n), s.keep(2, j, candidate, n);
    });
  }

  // δa_n = δh' (1 − z)(1 − n²), δm = U_nᵀ δa_n, δa_z = δh' (h − n) z (1 − z), δa_r = δm s r (1 − r); δh' z and δm r reach
  // the state.
  static void leave_gradient(const RowGradient& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector z = s.saved(1, j, n), candidate = s.saved(2, j, n);
      const Vector d = load(s.d_hidden + j) * (1.0f - z) * (1.0f - candidate * candidate);
      store(s.d_second + j, d);
      s.of_input(2, j, d, n);
    });
  }

  static void enter_gradient(const RowGradient& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector r = s.saved(0, j, n), z = s.saved(1, j, n), d_hidden = load(s.d_hidden + j);
      const Vector d_middle = load(s.d_middle + j);
      s.of_gate(0, j, d_middle * load(s.seen + j) * r * (1.0f - r), n);
      s.of_gate(1, j, d_hidden * (load(s.before + j) - s.saved(2, j, n)) * z * (1.0f - z), n);
      store(s.left_of_second + j, r * load(s.seen + j), n);
      store(s.through + j, d_middle * r);
      store(s.d_hidden + j, d_hidden * z);
    });
  }
};

// As an LSTM, but h' = P (o tanh(c')).
struct ProjectedLstm {
  static constexpr int kGates = 4, kFirst = 4, kOwn = 0, kKept = 4;
  static constexpr bool kCell = true, kSecond = true;

  static void enter(const RowStep& s) {
    units(s.h, [&](int64_t j, int n) {
      Vector gate[4], cell = load(s.cell + j);
      for (int g = 0; g < 4; ++g) gate[g] = s.input(g, j, n) + load(s.product + g * s.hp + j);
      store(s.middle + j, Lstm::apply(gate, Vector{}, cell, nullptr));
      store(s.cell + j, cell);
      for (int g = 0; g < 4; ++g) s.keep(g, j, gate[g], n);
    });
  }

  static void leave(const RowStep& s) { copy(s.hidden, s.second, s.o); }

  // The gradient of the second product is the other one that is returned.
  static void leave_gradient(const RowGradient& s) {
    copy(s.d_second, s.d_hidden, s.o);
    copy(s.d_other, s.d_hidden, s.o);
    clear(s.d_hidden, s.o);
  }

  static void enter_gradient(const RowGradient& s) {
    units(s.h, [&](int64_t j, int n) {
      Vector gate[4], d_gate[4], d_cell = load(s.d_cell + j);
      for (int g = 0; g < 4; ++g) gate[g] = s.saved(g, j, n);
      Lstm::gradient(gate, load(s.cell_before + j, n), load(s.cell + j, n), load(s.d_middle + j), d_cell, d_gate, nullptr,
                     nullptr);
      store(s.d_cell + j, d_cell);
      store(s.left_of_second + j, gate[3] * tanh(load(s.cell + j, n)), n);
      for (int g = 0; g < 4; ++g) s.of_gate(g, j, d_gate[g], n);
    });
  }
};

inline float total(Vector v) {
  float sum = 0.0f;
  for (int i = 0; i < kLanes; ++i) sum += v[i];
  return sum;
}

// The lanes that are units, the others zero.
inline Vector only(Vector v, int n) {
  float lanes[kLanes];
  if (n < kLanes) store(lanes, v), v = load(lanes, n);
  return v;
}

// Normalizes a padded row to mean 0 and variance 1; returns by what its deviations were multiplied.
inline float normalize(float* row, int64_t h) {
  Vector sum{}, squares{};
  units(h, [&](int64_t j, int) { sum += load(row + j); });
  const float mean = total(sum) / h;
  units(h, [&](int64_t j, int n) {
    const Vector centred = only(load(row + j) - mean, n);
    store(row + j, centred);
    squares += centred * centred;
  });
  const float scale = 1.0f / std::sqrt(total(squares) / h + 1e-5f);
  units(h, [&](int64_t j, int) { store(row + j, load(row + j) * scale); });
  return scale;
}

// From the gradient `d` of a normalized row to that of the row: scale (d − mean(d) − row mean(row d)).
inline void normalize_gradient(const float* row, float scale, float* d, int64_t h) {
  Vector sum{}, along{};
  units(h, [&](int64_t j, int) { sum += load(d + j), along += load(d + j) * load(row + j); });
  const float mean = total(sum) / h, slope = total(along) / h;
  units(h, [&](int64_t j, int n) { store(d + j, only(scale * (load(d + j) - mean - slope * load(row + j)), n)); });
}

// Normalizes the products of all gates, of which the cell keeps what they were as its last.
template <int kGates, int kKept>
void normalize_gates(const RowStep& s) {
  for (int g = 0; g < kGates; ++g) {
    float* row = s.product + g * s.hp;
    if (s.kept) copy(s.kept + (kKept - kGates + g) * s.h, row, s.h);
    normalize(row, s.h);
  }
}

// From the gradients of gates, in `d_product`, whose normalized products were multiplied by the first of the own weights,
// to those of these weights and of the products, which are the other ones that are returned.
template <int kGates, int kKept>
void normalize_gates_gradient(const RowGradient& s) {
  for (int g = 0; g < kGates; ++g) {
    float *row = s.scratch, *d = s.d_product + g * s.hp;
    copy(row, s.kept + (kKept - kGates + g) * s.h, s.h);
    clear(row + s.h, s.hp - s.h);
    const float scale = normalize(row, s.h);
    units(s.h, [&](int64_t j, int n) {
      s.add_own(g, j, load(d + j) * load(row + j), n);
      store(d + j, load(d + j) * load(s.own + g * s.h + j, n));
    });
    normalize_gradient(row, scale, d, s.h);
    copy(s.d_other + g * s.h, d, s.h);
  }
}

// Own weights: the scales of i f g o, and scale and shift of the cell. a = x + scale LN(U h), h' = o tanh(LN(c')).
struct LayerNormLstm {
  static constexpr int kGates = 4, kFirst = 4, kOwn = 6, kKept = 8;
  static constexpr bool kCell = true, kSecond = false;

  static void enter(const RowStep& s) {
    normalize_gates<kGates, kKept>(s);
    float* normal = s.middle;
    units(s.h, [&](int64_t j, int n) {
      Vector gate[4], cell = load(s.cell + j);
      for (int g = 0; g < 4; ++g)
        gate[g] = s.input(g, j, n) + load(s.own + g * s.h + j, n) * load(s.product + g * s.hp + j);
      Lstm::apply(gate, Vector{}, cell, nullptr);
      store(s.cell + j, cell);
      store(normal + j, cell);
      store(s.product + 3 * s.hp + j, gate[3]);
      for (int g = 0; g < 4; ++g) s.keep(g, j, gate[g], n);
    });
    normalize(normal, s.h);
    units(s.h, [&](int64_t j, int n) {
      const Vector shown = load(s.own + 4 * s.h + j, n) * load(normal + j) + load(s.own + 5 * s.h + j, n);
      store(s.hidden + j, load(s.product + 3 * s.hp + j) * tanh(shown));
    });
  }

  static void leave(const RowStep&) {}

  static void leave_gradient(const RowGradient&) {}

  static void enter_gradient(const RowGradient& s) {
    float *normal = s.scratch, *d_normal = s.d_middle;
    copy(normal, s.cell, s.h);
    clear(normal + s.h, s.hp - s.h);
    const float scale = normalize(normal, s.h);
    units(s.h, [&](int64_t j, int n) {
      const Vector o = s.saved(3, j, n), d_hidden = load(s.d_hidden + j), weight = load(s.own + 4 * s.h + j, n);
      const Vector shown = tanh(weight * load(normal + j) + load(s.own + 5 * s.h + j, n));
      const Vector d = d_hidden * o * (1.0f - shown * shown);
      s.add_own(4, j, d * load(normal + j), n), s.add_own(5, j, d, n);
      store(d_normal + j, d * weight);
      s.of_gate(3, j, d_hidden * shown * o * (1.0f - o), n);
      store(s.d_hidden + j, Vector{});
    });
    normalize_gradient(normal, scale, d_normal, s.h);
    units(s.h, [&](int64_t j, int n) {
      const Vector i = s.saved(0, j, n), f = s.saved(1, j, n), g = s.saved(2, j, n);
      const Vector d = load(s.d_cell + j) + load(d_normal + j);
      s.of_gate(0, j, d * g * i * (1.0f - i), n);
      s.of_gate(1, j, d * load(s.cell_before + j, n) * f * (1.0f - f), n);
      s.of_gate(2, j, d * i * (1.0f - g * g), n);
      store(s.d_cell + j, d * f);
    });
    normalize_gates_gradient<kGates, kKept>(s);
  }
};

// Own weights: the scales of r z n, and the bias of the candidate's product. q = scale LN(U_n h) + b, n = tanh(x_n + r q).
struct LayerNormGru {
  static constexpr int kGates = 3, kFirst = 3, kOwn = 4, kKept = 7;
  static constexpr bool kCell = false, kSecond = false;

  static void enter(const RowStep& s) {
    normalize_gates<kGates, kKept>(s);
    units(s.h, [&](int64_t j, int n) {
      const auto scaled = [&](int g) { return load(s.own + g * s.h + j, n) * load(s.product + g * s.hp + j); };
      Vector none{}, gate[4] = {s.input(0, j, n) + scaled(0), s.input(1, j, n) + scaled(1), s.input(2, j, n),
                                scaled(2) + load(s.own + 3 * s.h + j, n)};
      store(s.hidden + j, Gru::apply(gate, load(s.hidden + j), none, nullptr));
      for (int g = 0; g < 4; ++g) s.keep(g, j, gate[g], n);
    });
  }

  static void leave(const RowStep&) {}

  static void leave_gradient(const RowGradient&) {}

  static void enter_gradient(const RowGradient& s) {
    units(s.h, [&](int64_t j, int n) {
      Vector none{}, gate[4], d[4];
      for (int g = 0; g < 4; ++g) gate[g] = s.saved(g, j, n);
      const Vector direct = Gru::gradient(gate, load(s.before + j), none, load(s.d_hidden + j), none, d, nullptr, nullptr);
      store(s.d_hidden + j, direct);
      s.of_gate(0, j, d[1], n), s.of_gate(1, j, d[2], n), s.of_input(2, j, d[0], n);
      store(s.d_product + 2 * s.hp + j, d[3]);
      s.add_own(3, j, d[3], n);
    });
    normalize_gates_gradient<kGates, kKept>(s);
  }
};

}  // namespace
