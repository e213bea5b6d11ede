// What XLA gives to the compiled code. From these types of a function's arguments it infers how to call it.
#pragma once

#include "xla/ffi/api/ffi.h"

namespace {

using Array = xla::ffi::Buffer<xla::ffi::F32>;
using Marks = xla::ffi::Buffer<xla::ffi::S32>;
using Result = xla::ffi::Result<Array>;

// Attributes of a call, by their names in Python.
constexpr char kReverse[] = "reverse", kUnits[] = "units", kTop[] = "top", kLeft[] = "left";
constexpr char kStrideY[] = "stride_y", kStrideX[] = "stride_x";
using Reverse = xla::ffi::Attr<bool, kReverse>;
using Units = xla::ffi::Attr<int64_t, kUnits>;
using Top = xla::ffi::Attr<int64_t, kTop>;
using Left = xla::ffi::Attr<int64_t, kLeft>;
using StrideY = xla::ffi::Attr<int64_t, kStrideY>;
using StrideX = xla::ffi::Attr<int64_t, kStrideX>;

// A type of our own, so that what binds it cannot meet a binding of XLA's.
struct Threads : xla::ffi::ThreadPool {
  Threads(xla::ffi::ThreadPool pool) : ThreadPool(pool) {}
};

// Null where an array is empty: a cell or a call has none of it.
template <class Buffer>
auto* given(const Buffer& array) {
  return array.element_count() ? array.typed_data() : nullptr;
}
inline float* given(Result& array) { return given(*array); }

}  // namespace

template <>
struct xla::ffi::CtxBinding<Threads> {
  using Ctx = ThreadPool;
};
