// Arrays as XLA gives them to the compiled code.
#pragma once

#include "xla/ffi/api/ffi.h"

namespace {

using Array = xla::ffi::Buffer<xla::ffi::F32>;
using Marks = xla::ffi::Buffer<xla::ffi::S32>;
using Result = xla::ffi::Result<Array>;

// Null where an array is empty: a cell or a call has none of it.
template <class Buffer>
auto* given(const Buffer& array) {
  return array.element_count() ? array.typed_data() : nullptr;
}
inline float* given(Result& array) { return given(*array); }

}  // namespace
