// Cells that normalize their gates (Ba et al. 2016), by the equations of rowrnn/cells/variants.py.
#pragma once

#include <cmath>

#include "staged_cells.h"

namespace {

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
  const float scale = 1.0f / std::sqrt(total(squares) / h + 1e-5f);  // as in rowrnn/cells/variants.py
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

// What gates see of input and state, each normalized on its own: scale LN(U h) + input scale LN(W x) + bias, the first
// of the own weights. Its gradients need both products.
template <int kGates>
struct NormalizedGates {
  int64_t h, hp;
  const float* own;
  float *of_state, *of_input;  // normalized, [kGates, hp]
  float state_scale[kGates], input_scale[kGates];

  NormalizedGates(int64_t h, int64_t hp, const float* own, float* of_state, float* of_input, const float* projected)
      : h(h), hp(hp), own(own), of_state(of_state), of_input(of_input) {
    for (int g = 0; g < kGates; ++g) {
      copy(of_input + g * hp, projected + g * h, h);
      clear(of_input + g * hp + h, hp - h);
      input_scale[g] = normalize(of_input + g * hp, h);
      state_scale[g] = normalize(of_state + g * hp, h);
    }
  }

  Vector weight(int k, int64_t j, int n) const { return load(own + k * h + j, n); }
  Vector state(int g, int64_t j, int n) const { return weight(g, j, n) * load(of_state + g * hp + j); }
  Vector input(int g, int64_t j, int n) const {
    return weight(kGates + g, j, n) * load(of_input + g * hp + j) + weight(2 * kGates + g, j, n);
  }

  // From the gradients of both halves of the gates, [kGates, hp] each, to those of what was normalized and of the
  // weights. Both may be one array, and `d_input` may be `spare`: each gate is read before it is overwritten.
  void gradient(const StagedGradient& s, float* d_state, float* d_input) const {
    for (int g = 0; g < kGates; ++g) {
      float *by_state = d_state + g * hp, *by_input = d_input + g * hp, *d = s.spare + g * hp;
      units(h, [&](int64_t j, int n) {
        const Vector of = load(by_input + j);
        s.add_own(kGates + g, j, of * load(of_input + g * hp + j)), s.add_own(2 * kGates + g, j, of);
        store(d + j, of * weight(kGates + g, j, n));
      });
      normalize_gradient(of_input + g * hp, input_scale[g], d, h);
      copy(s.d_projected + g * h, d, h);
      units(h, [&](int64_t j, int n) {
        s.add_own(g, j, load(by_state + j) * load(of_state + g * hp + j));
        store(by_state + j, load(by_state + j) * weight(g, j, n));
      });
      normalize_gradient(of_state + g * hp, state_scale[g], by_state, h);
      copy(s.d_other + g * h, by_state, h);
    }
  }

  // Normalizes the gates of a step, and keeps what the products were for its gradient.
  static NormalizedGates normalize_gates(const StagedStep& s) {
    for (int g = 0; s.kept && g < kGates; ++g) copy(s.kept + g * s.h, s.product + g * s.hp, s.h);
    return {s.h, s.hp, s.own, s.product, s.normal_input, s.projected};
  }

  // The gates of a step as they were.
  static NormalizedGates restore_gates(const StagedGradient& s) {
    for (int g = 0; g < kGates; ++g) {
      copy(s.normal_state + g * s.hp, s.kept + g * s.h, s.h);
      clear(s.normal_state + g * s.hp + s.h, s.hp - s.h);
    }
    return {s.h, s.hp, s.own, s.normal_state, s.normal_input, s.projected};
  }
};

// Gates i f g o from normalized halves, h' = o tanh(LN(c')). Own weights, after those of the gates: scale and shift of
// the cell.
struct LayerNormLstm {
  static constexpr int kGates = 4, kFirst = 4, kScale = 3 * kGates, kShift = kScale + 1, kOwn = kShift + 1;
  static constexpr bool kCell = true, kSecond = false;

  static void enter(const StagedStep& s) {
    const auto gates = NormalizedGates<kGates>::normalize_gates(s);
    float* normal = s.middle;
    units(s.h, [&](int64_t j, int n) {
      Vector gate[4], cell = load(s.cell + j);
      for (int g = 0; g < 4; ++g) gate[g] = gates.input(g, j, n) + gates.state(g, j, n);
      Lstm::apply(gate, Vector{}, cell, nullptr);
      store(s.cell + j, cell);
      store(normal + j, cell);
      store(s.hidden + j, gate[3]);
    });
    normalize(normal, s.h);
    units(s.h, [&](int64_t j, int n) {
      const Vector shown = gates.weight(kScale, j, n) * load(normal + j) + gates.weight(kShift, j, n);
      store(s.hidden + j, only(load(s.hidden + j) * tanh(shown), n));
    });
  }

  static void leave(const StagedStep&) {}

  static void leave_gradient(const StagedGradient&) {}

  // Gradients of o and of the normalized cell, then those of the cell and the other gates.
  static void enter_gradient(const StagedGradient& s) {
    const auto gates = NormalizedGates<kGates>::restore_gates(s);
    float *normal = s.spare, *d_normal = s.d_middle;
    copy(normal, s.cell, s.h);
    clear(normal + s.h, s.hp - s.h);
    const float scale = normalize(normal, s.h);
    units(s.h, [&](int64_t j, int n) {
      const Vector o = sigmoid(gates.input(3, j, n) + gates.state(3, j, n)), weight = gates.weight(kScale, j, n);
      const Vector d_hidden = load(s.d_hidden + j),
                   shown = tanh(weight * load(normal + j) + gates.weight(kShift, j, n));
      const Vector d = d_hidden * o * (1.0f - shown * shown);
      s.add_own(kScale, j, d * load(normal + j)), s.add_own(kShift, j, d);
      store(d_normal + j, d * weight);
      store(s.d_product + 3 * s.hp + j, d_hidden * shown * o * (1.0f - o));
      store(s.d_hidden + j, Vector{});
    });
    normalize_gradient(normal, scale, d_normal, s.h);
    units(s.h, [&](int64_t j, int n) {
      const Vector i = sigmoid(gates.input(0, j, n) + gates.state(0, j, n));
      const Vector f = sigmoid(gates.input(1, j, n) + gates.state(1, j, n));
      const Vector g = tanh(gates.input(2, j, n) + gates.state(2, j, n)), d = load(s.d_cell + j) + load(d_normal + j);
      store(s.d_product + j, d * g * i * (1.0f - i));
      store(s.d_product + s.hp + j, d * load(s.cell_before + j, n) * f * (1.0f - f));
      store(s.d_product + 2 * s.hp + j, d * i * (1.0f - g * g));
      store(s.d_cell + j, d * f);
    });
    gates.gradient(s, s.d_product, s.d_product);
  }
};

// r z n from normalized halves, of which the candidate's stay apart: n = tanh(x_n + r q). Own weights, after those of
// the gates: the bias of q.
struct LayerNormGru {
  static constexpr int kGates = 3, kFirst = 3, kBias = 3 * kGates, kOwn = kBias + 1;
  static constexpr bool kCell = false, kSecond = false;

  static void activate(const NormalizedGates<kGates>& gates, int64_t j, int n, Vector before, Vector (&gate)[4],
                       Vector& hidden) {
    Vector none{};
    gate[0] = gates.input(0, j, n) + gates.state(0, j, n), gate[1] = gates.input(1, j, n) + gates.state(1, j, n);
    gate[2] = gates.input(2, j, n), gate[3] = gates.state(2, j, n) + gates.weight(kBias, j, n);
    hidden = Gru::apply(gate, before, none, nullptr);
  }

  static void enter(const StagedStep& s) {
    const auto gates = NormalizedGates<kGates>::normalize_gates(s);
    units(s.h, [&](int64_t j, int n) {
      Vector gate[4], hidden;
      activate(gates, j, n, load(s.hidden + j), gate, hidden);
      store(s.hidden + j, hidden);
    });
  }

  static void leave(const StagedStep&) {}

  static void leave_gradient(const StagedGradient&) {}

  static void enter_gradient(const StagedGradient& s) {
    const auto gates = NormalizedGates<kGates>::restore_gates(s);
    float* d_input = s.spare;
    units(s.h, [&](int64_t j, int n) {
      Vector none{}, gate[4], d[4], hidden;
      activate(gates, j, n, load(s.before + j), gate, hidden);
      const Vector direct =
          Gru::gradient(gate, load(s.before + j), none, load(s.d_hidden + j), none, d, nullptr, nullptr);
      store(s.d_hidden + j, direct);
      for (int g = 0; g < 2; ++g) store(s.d_product + g * s.hp + j, d[1 + g]), store(d_input + g * s.hp + j, d[1 + g]);
      store(s.d_product + 2 * s.hp + j, d[3]), store(d_input + 2 * s.hp + j, d[0]);
      s.add_own(kBias, j, d[3]);
    });
    gates.gradient(s, s.d_product, d_input);
  }
};

}  // namespace
