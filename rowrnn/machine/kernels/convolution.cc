// Convolutions on a CPU, called by XLA through its foreign function interface.

#include "convolution.h"

#include "buffers.h"

namespace ffi = xla::ffi;

namespace {

template <class Images, class Kernel, class Maps>
Convolution convolution(const Images& images, const Kernel& kernel, const Maps& maps, int64_t stride_y,
                        int64_t stride_x, int64_t top, int64_t left) {
  const auto image = images.dimensions(), of_kernel = kernel.dimensions(), map = maps.dimensions();
  return {image[0], image[1], image[2], image[3], of_kernel[0], of_kernel[1], of_kernel[3],
          map[1],   map[2],   stride_y, stride_x, top,          left};
}

ffi::Error forward(Threads pool, Array images, Array kernel, Result maps, StrideY stride_y, StrideX stride_x, Top top,
                   Left left) {
  Convolution s = convolution(images, kernel, *maps, *stride_y, *stride_x, *top, *left);
  s.images = images.typed_data(), s.kernel = kernel.typed_data();
  if (maps->element_count()) s.forward(pool, maps->typed_data());
  return ffi::Error::Success();
}

ffi::Error input_gradient(Threads pool, Array maps, Array kernel, Result images, StrideY stride_y, StrideX stride_x,
                          Top top, Left left) {
  Convolution s = convolution(*images, kernel, maps, *stride_y, *stride_x, *top, *left);
  s.maps = maps.typed_data(), s.kernel = kernel.typed_data();
  if (images->element_count()) s.input_gradient(pool, images->typed_data());
  return ffi::Error::Success();
}

ffi::Error kernel_gradient(Threads pool, Array images, Array maps, Result kernel, StrideY stride_y, StrideX stride_x,
                           Top top, Left left) {
  Convolution s = convolution(images, *kernel, maps, *stride_y, *stride_x, *top, *left);
  s.images = images.typed_data(), s.maps = maps.typed_data();
  if (kernel->element_count()) s.kernel_gradient(pool, kernel->typed_data());
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(convolution_forward, forward);
XLA_FFI_DEFINE_HANDLER_SYMBOL(convolution_input_gradient, input_gradient);
XLA_FFI_DEFINE_HANDLER_SYMBOL(convolution_kernel_gradient, kernel_gradient);
