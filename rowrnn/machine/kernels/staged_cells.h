// Cells whose step has stages: each needs all units of a sequence from the one before. One gate enters a second
// product, or the output is projected; those that normalize their gates are in normalized_cells.h.
//
// A step is `enter`, after the product of the hidden state, and `leave`, after the second product where there is one;
// the gradients are taken the other way. What a step reads of its input is projected before.
#pragma once

#include "cells.h"

namespace {

// f(j, n) for each vector of units: they begin with j, n of its lanes are units.
template <class F>
inline void units(int64_t h, F&& f) {
  for (int64_t j = 0; j < h; j += kLanes) f(j, static_cast<int>(std::min<int64_t>(kLanes, h - j)));
}

// One sequence at one step. Padded arrays are zero beyond the units.
struct StagedStep {
  int64_t o, h, hp;              // size of the hidden state, units, units padded
  const float *projected, *own;  // [gates, h], [kOwn, h]
  const float* seen;             // what of the hidden state enters products, padded
  float *hidden, *cell;          // the state, to be replaced, padded
  float* product;                // of the hidden state, [kFirst, hp]
  float *middle, *second;        // the left side of the second product, and that product, padded
  float* normal_input;           // [kGates, hp], of cells that normalize
  float* kept;                   // [kGates, h], null where no gradient is asked for

  void keep(int k, int64_t j, Vector v, int n) const {
    if (kept) store(kept + k * h + j, v, n);
  }
  Vector input(int gate, int64_t j, int n) const { return load(projected + gate * h + j, n); }
};

// The gradients of one sequence at one step. `d_hidden` holds that of the state after the step; `enter_gradient`
// replaces it by the part that reaches the state before directly. `through` collects the part that goes through `seen`.
struct StagedGradient {
  int64_t o, h, hp;
  const float *projected, *own, *kept;  // as in a step
  const float *cell_before, *cell;      // [h]
  float *before, *seen;                 // the hidden state before the step, and what of it enters products, padded
  float *d_hidden, *d_cell, *d_second, *d_middle, *through;  // padded
  float* d_product;                                          // [kFirst, hp]
  float *normal_input, *normal_state, *spare;                // [kGates, hp], of cells that normalize
  float *d_projected, *d_other, *left_of_second;             // [gates, h], as the cell has it, [h]
  float* d_own;                                              // [kOwn, hp], summed over sequences

  Vector saved(int k, int64_t j, int n) const { return load(kept + k * h + j, n); }
  void of_input(int gate, int64_t j, Vector d, int n) const { store(d_projected + gate * h + j, d, n); }
  // The gradient of a gate whose input half and recurrent half are added.
  void of_gate(int gate, int64_t j, Vector d, int n) const {
    store(d_product + gate * hp + j, d);
    of_input(gate, j, d, n);
  }
  void add_own(int k, int64_t j, Vector d) const {
    float* to = d_own + k * hp + j;
    store(to, load(to) + d);
  }
};

// What a cell is. `kGates`: gates, each of which reads the input and keeps an array for the gradient. `kFirst`: those
// of the product of the hidden state. `kSecond`: whether a second product follows. `kOwn`: vectors of weights that each
// unit has for itself. `kCell`: whether there is a cell state.

// f = σ(a_f), n = tanh(x_n + U_n (f s)) with s the state that is seen, h' = h + f (n − h).
struct Mgu {
  static constexpr int kGates = 2, kFirst = 1, kOwn = 0;
  static constexpr bool kCell = false, kSecond = true;

  static void enter(const StagedStep& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector f = sigmoid(s.input(0, j, n) + load(s.product + j));
      store(s.product + j, f);
      store(s.middle + j, f * load(s.seen + j));
    });
  }

  static void leave(const StagedStep& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector f = load(s.product + j), before = load(s.hidden + j);
      const Vector candidate = tanh(s.input(1, j, n) + load(s.second + j));
      store(s.hidden + j, before + f * (candidate - before));
      s.keep(0, j, f, n), s.keep(1, j, candidate, n);
    });
  }

  // δa_n = δh' f (1 − n²), δm = U_nᵀ δa_n, δa_f = (δh' (n − h) + δm s) f (1 − f); δh' (1 − f) and δm f reach the state.
  static void leave_gradient(const StagedGradient& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector f = s.saved(0, j, n), candidate = s.saved(1, j, n);
      const Vector d = load(s.d_hidden + j) * f * (1.0f - candidate * candidate);
      store(s.d_second + j, d);
      s.of_input(1, j, d, n);
    });
  }

  static void enter_gradient(const StagedGradient& s) {
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
  static constexpr int kGates = 3, kFirst = 2, kOwn = 0;
  static constexpr bool kCell = false, kSecond = true;

  static void enter(const StagedStep& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector r = sigmoid(s.input(0, j, n) + load(s.product + j));
      store(s.product + s.hp + j, sigmoid(s.input(1, j, n) + load(s.product + s.hp + j)));
      store(s.middle + j, r * load(s.seen + j));
      s.keep(0, j, r, n);
    });
  }

  static void leave(const StagedStep& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector z = load(s.product + s.hp + j), before = load(s.hidden + j);
      const Vector candidate = tanh(s.input(2, j, n) + load(s.second + j));
      store(s.hidden + j, candidate + z * (before - candidate));
      s.keep(1, j, z, n), s.keep(2, j, candidate, n);
    });
  }

  // δa_n = δh' (1 − z)(1 − n²), δm = U_nᵀ δa_n, δa_z = δh' (h − n) z (1 − z), δa_r = δm s r (1 − r); δh' z and δm r
  // reach the state.
  static void leave_gradient(const StagedGradient& s) {
    units(s.h, [&](int64_t j, int n) {
      const Vector z = s.saved(1, j, n), candidate = s.saved(2, j, n);
      const Vector d = load(s.d_hidden + j) * (1.0f - z) * (1.0f - candidate * candidate);
      store(s.d_second + j, d);
      s.of_input(2, j, d, n);
    });
  }

  static void enter_gradient(const StagedGradient& s) {
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
  static constexpr int kGates = 4, kFirst = 4, kOwn = 0;
  static constexpr bool kCell = true, kSecond = true;

  static void enter(const StagedStep& s) {
    units(s.h, [&](int64_t j, int n) {
      Vector gate[4], cell = load(s.cell + j);
      for (int g = 0; g < 4; ++g) gate[g] = s.input(g, j, n) + load(s.product + g * s.hp + j);
      store(s.middle + j, Lstm::apply(gate, Vector{}, cell, nullptr));
      store(s.cell + j, cell);
      for (int g = 0; g < 4; ++g) s.keep(g, j, gate[g], n);
    });
  }

  static void leave(const StagedStep& s) { copy(s.hidden, s.second, s.o); }

  // The gradient of the second product is the other one that is returned.
  static void leave_gradient(const StagedGradient& s) {
    copy(s.d_second, s.d_hidden, s.o);
    copy(s.d_other, s.d_hidden, s.o);
    clear(s.d_hidden, s.o);
  }

  static void enter_gradient(const StagedGradient& s) {
    units(s.h, [&](int64_t j, int n) {
      Vector gate[4], d_gate[4], d_cell = load(s.d_cell + j);
      for (int g = 0; g < 4; ++g) gate[g] = s.saved(g, j, n);
      Lstm::gradient(gate, load(s.cell_before + j, n), load(s.cell + j, n), load(s.d_middle + j), d_cell, d_gate,
                     nullptr, nullptr);
      store(s.d_cell + j, d_cell);
      store(s.left_of_second + j, gate[3] * tanh(load(s.cell + j, n)), n);
      for (int g = 0; g < 4; ++g) s.of_gate(g, j, d_gate[g], n);
    });
  }
};

}  // namespace
