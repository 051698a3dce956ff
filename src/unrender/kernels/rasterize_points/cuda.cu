// All views of a batch, forward and backward, on the GPU. `cuda.py` launches these kernels in their order.
//
// A block of points is looked at by a block of threads, if `cull` says that it may be seen. Points meet in pixels by
// atomic operations, and all of them are on integers, so that their order does not matter and every run gives the same
// bits: depths are compared as the integers with their bits, points are counted, and descriptors are added in fixed
// point. The unit of that is chosen by `unit` so that N of the largest descriptor drawn in the view still fit into 62
// bits: for ten million points it is 2^-38 of the largest, and a float of 24 bits loses nothing down to 2^-14 of it.
//
// UNRENDER_CHANNELS: D. UNRENDER_HALF: descriptors are half-precision numbers. P: pixels of all layers, V: views.
#include "footprint.h"

#define UNRENDER_D __device__ inline

namespace unrender {

constexpr unsigned kChannels = UNRENDER_CHANNELS;
constexpr unsigned kBroken = 0x80000000U;  // in a pixel's count: a descriptor there is not finite

// A block that may be seen, how many of its points, and fine pixels [left, right) x [top, bottom) that hold them.
struct Task {
  unsigned block;
  unsigned short count, look_at_normals;
  unsigned short left, right, top, bottom;
};

// What kernels that look at points are told.
struct Call {
  const float* points;    // [7, M] sorted: position, normal, reach
  const unsigned* index;  // [M] their places in the scene
  unsigned number;        // M
  const Task* tasks;      // [V, blocks]
  const unsigned* made;   // [V] tasks
  unsigned blocks;
  const View* views;
  const long long* seed;
  int height, width, layers;
  float gamma;
  unsigned ghosts;  // rate * 2^32
};
#define UNRENDER_CALL                                                                                                 \
  const float *points, const unsigned *index, unsigned number, const Task *tasks, const unsigned *made,               \
      unsigned blocks, const View *views, const long long *seed, int height, int width, int layers, float gamma,      \
      unsigned ghosts
#define UNRENDER_THE_CALL \
  { points, index, number, tasks, made, blocks, views, seed, height, width, layers, gamma, ghosts }

// A point as a view draws it: its pixel in the finest layer, and in how many layers, 0 for none.
struct Drawn {
  int column, row, layers;
  float depth;
};

// Point `i` of the sorted ones. The order of the tests is that of their cost.
UNRENDER_D Drawn draw(const Call& call, const View& view, unsigned ghost_key, const Task& task, size_t i) {
  const size_t step = call.number;
  const float* point = call.points + i;
  const float px = point[0], py = point[step], pz = point[2 * step];
  const Seen seen = see(view, px, py, pz);
  Drawn drawn{0, 0, 0, seen.depth};
  if (!is_inside(view, seen)) return drawn;
  if (!(seen.u >= 0 && seen.u < float(call.width) && seen.v >= 0 && seen.v < float(call.height))) return drawn;
  if (task.look_at_normals && !is_facing(view, px, py, pz, point[3 * step], point[4 * step], point[5 * step]))
    return drawn;
  int layers = call.layers;
  if (call.gamma > 0) {
    const float size = call.gamma * (magnification(view.lens, seen.x, seen.y, seen.inverse_depth) * point[6 * step]);
    layers = 0;
    while (layers < call.layers && is_drawn(size, layers)) ++layers;
  }
  if (call.ghosts > 0 && is_ghost(ghost_key, call.index[i], call.ghosts)) return drawn;
  return {int(seen.u), int(seen.v), layers, seen.depth};
}

// Calls each(pixel of the pyramid) for a point's pixel in every layer that draws it.
template <class Each>
UNRENDER_D void for_pixels(const Call& call, const Drawn& drawn, const Each& each) {
  unsigned first = 0;
  for (int level = 0; level < drawn.layers; ++level) {
    const unsigned width = ((call.width - 1) >> level) + 1, height = ((call.height - 1) >> level) + 1;
    each(first + unsigned(drawn.row >> level) * width + unsigned(drawn.column >> level));
    first += width * height;
  }
}

#ifdef UNRENDER_HALF
// Exact; zeros and the smallest numbers too.
UNRENDER_D float widen(unsigned short half) {
  const unsigned size = half & 0x7fffU;
  const float value = __int_as_float(size << 13) * 5.192296858534828e33f;  // 2^112
  const int bits = size < 0x7c00U ? __float_as_int(value) : int(size << 13 | 0x7f800000U);
  return __int_as_float(bits | (half & 0x8000U) << 16);
}
using Scalar = unsigned short;
#else
UNRENDER_D float widen(float value) { return value; }
using Scalar = float;
#endif

UNRENDER_D unsigned size_bits(float value) { return unsigned(__float_as_int(value)) & 0x7fffffffU; }
UNRENDER_D bool is_finite(unsigned bits) { return bits < 0x7f800000U; }

// log2 of how many units of the fixed point make 1. `most`: bits of the largest descriptor; `room`: bits left by N.
UNRENDER_D int unit(unsigned most, int room) {
  const int below = room - (int(most >> 23) - 126);
  return below < 126 ? below : 126;  // its inverse is a float too
}
UNRENDER_D float power_of_two(int exponent) { return __int_as_float((exponent + 127) << 23); }

UNRENDER_D void add(long long* at, long long value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(at), static_cast<unsigned long long>(value));
}

}  // namespace unrender

using namespace unrender;

// Which blocks may be seen in view blockIdx.y. Their order is left to chance.
extern "C" __global__ void cull(const Block* blocks, unsigned count, unsigned points, const View* views, int height,
                                int width, float gamma, Task* tasks, unsigned* made) {
  const unsigned block = blockIdx.x * blockDim.x + threadIdx.x, view = blockIdx.y;
  if (block >= count) return;
  const unsigned left = points - block * kBlock;
  const Window window{views[view], height, width, 1, gamma};
  const Footprint seen = footprint(blocks[block], left < kBlock ? left : kBlock, window);
  if (seen.count == 0) return;
  const unsigned at = atomicAdd(made + view, 1U);
  tasks[size_t(view) * count + at] = {block,     seen.count, seen.look_at_normals, seen.left,
                                      seen.right, seen.top,   seen.bottom};
}

// depth [V, P], full of +inf: of the nearest point. most [V], zeros: bits of the largest finite descriptor drawn.
extern "C" __global__ void nearest(UNRENDER_CALL, const Scalar* descriptors, float* depth, unsigned pixels,
                                   unsigned* most) {
  const Call call UNRENDER_THE_CALL;
  const View view = views[blockIdx.y];
  const unsigned key = ghost_key(*seed, blockIdx.y);
  __shared__ unsigned most_here;
  if (threadIdx.x == 0) most_here = 0;
  __syncthreads();
  unsigned largest = 0;
  for (unsigned at = blockIdx.x; at < made[blockIdx.y]; at += gridDim.x) {
    const Task task = tasks[size_t(blockIdx.y) * blocks + at];
    if (threadIdx.x >= task.count) continue;
    const size_t i = size_t(task.block) * kBlock + threadIdx.x;
    const Drawn drawn = draw(call, view, key, task, i);
    if (drawn.layers == 0) continue;
    float* image = depth + size_t(blockIdx.y) * pixels;
    for_pixels(call, drawn, [&](unsigned pixel) {
      // A value read too early is too far, and does no harm.
      if (drawn.depth < image[pixel]) atomicMin(reinterpret_cast<int*>(image + pixel), __float_as_int(drawn.depth));
    });
    const Scalar* row = descriptors + size_t(index[i]) * kChannels;
    for (unsigned channel = 0; channel < kChannels; ++channel) {
      const unsigned bits = size_bits(widen(row[channel]));
      if (is_finite(bits) && bits > largest) largest = bits;
    }
  }
  atomicMax(&most_here, largest);
  __syncthreads();
  if (threadIdx.x == 0) atomicMax(most + blockIdx.y, most_here);
}

// The points of a task that are drawn, put together so that threads can share their channels.
struct Gathered {
  Drawn drawn[kBlock];
  unsigned index[kBlock];
  unsigned count;
};

UNRENDER_D void gather(const Call& call, const View& view, unsigned key, const Task& task, Gathered& to) {
  __syncthreads();  // all have done with the last task
  if (threadIdx.x == 0) to.count = 0;
  __syncthreads();
  if (threadIdx.x < task.count) {
    const size_t i = size_t(task.block) * kBlock + threadIdx.x;
    const Drawn drawn = draw(call, view, key, task, i);
    if (drawn.layers > 0) {
      const unsigned at = atomicAdd(&to.count, 1U);
      to.drawn[at] = drawn;
      to.index[at] = call.index[i];
    }
  }
  __syncthreads();
}

// The pixels of a task in all layers, numbered: points of a block lie together, and what they add to these few pixels is
// added up in the memory of the block of threads first. Fixed-point numbers stand there as `high` * 2^kLow + `low`: the
// sums of a block fit, and 32 bits are what that memory can add.
constexpr unsigned kPatchPixels = 32768 / (8 * kChannels + 4);
constexpr int kLow = 24;
struct Patch {
  int high[kPatchPixels * kChannels];
  unsigned low[kPatchPixels * kChannels];
  unsigned count[kPatchPixels];
};

// One layer of a patch, and of the pyramid.
struct Layer {
  unsigned left, top, width, height;  // of the patch
  unsigned first;                     // number of its first pixel
  unsigned image_width, image_first;
};
template <class Each>
UNRENDER_D unsigned for_layers(const Call& call, const Task& task, int layers, const Each& each) {
  unsigned first = 0, image_first = 0;
  for (int level = 0; level < layers; ++level) {
    const unsigned left = task.left >> level, top = task.top >> level;
    const unsigned width = ((task.right - 1U) >> level) - left + 1, height = ((task.bottom - 1U) >> level) - top + 1;
    const unsigned image_width = ((call.width - 1) >> level) + 1, image_height = ((call.height - 1) >> level) + 1;
    each(level, Layer{left, top, width, height, first, image_width, image_first});
    first += width * height;
    image_first += image_width * image_height;
  }
  return first;
}

// sum [V, P, D] and count [V, P], zeros: the points in the depth band (1 + alpha = `band`) behind the nearest.
extern "C" __global__ void blend(UNRENDER_CALL, const Scalar* descriptors, const float* depth, unsigned pixels,
                                 const unsigned* most, float band, int room, long long* sum, unsigned* count) {
  const Call call UNRENDER_THE_CALL;
  const View view = views[blockIdx.y];
  const unsigned key = ghost_key(*seed, blockIdx.y);
  const float units = power_of_two(unit(most[blockIdx.y], room));
  depth += size_t(blockIdx.y) * pixels;
  sum += size_t(blockIdx.y) * pixels * kChannels;
  count += size_t(blockIdx.y) * pixels;
  __shared__ Gathered gathered;
  __shared__ Patch patch;
  for (unsigned at = blockIdx.x; at < made[blockIdx.y]; at += gridDim.x) {
    const Task task = tasks[size_t(blockIdx.y) * blocks + at];
    const unsigned size = for_layers(call, task, layers, [](int, const Layer&) {});
    const bool together = size <= kPatchPixels;
    gather(call, view, key, task, gathered);
    for (unsigned i = threadIdx.x; together && i < size * kChannels; i += kBlock) patch.high[i] = 0, patch.low[i] = 0;
    for (unsigned i = threadIdx.x; together && i < size; i += kBlock) patch.count[i] = 0;
    __syncthreads();
    for (unsigned item = threadIdx.x; item < gathered.count * kChannels; item += kBlock) {
      const unsigned point = item / kChannels, channel = item % kChannels;
      const float value = widen(descriptors[size_t(gathered.index[point]) * kChannels + channel]);
      const bool finite = is_finite(size_bits(value));
      const long long fixed = finite ? llrintf(value * units) : 0;
      const Drawn drawn = gathered.drawn[point];
      for_layers(call, task, drawn.layers, [&](int level, const Layer& layer) {
        const unsigned column = unsigned(drawn.column) >> level, row = unsigned(drawn.row) >> level;
        const size_t to = layer.image_first + row * layer.image_width + column;
        if (!(drawn.depth <= band * depth[to])) return;
        const unsigned here = layer.first + (row - layer.top) * layer.width + (column - layer.left);
        if (together) {
          atomicAdd(&patch.high[here * kChannels + channel], int(fixed >> kLow));
          atomicAdd(&patch.low[here * kChannels + channel], unsigned(fixed) & ((1U << kLow) - 1));
          if (channel == 0) atomicAdd(&patch.count[here], 1U);
        } else {
          add(sum + to * kChannels + channel, fixed);
          if (channel == 0) atomicAdd(count + to, 1U);
        }
        if (!finite) atomicOr(count + to, kBroken);
      });
    }
    __syncthreads();
    if (!together) continue;
    for_layers(call, task, layers, [&](int, const Layer& layer) {
      for (unsigned i = threadIdx.x; i < layer.width * layer.height * kChannels; i += kBlock) {
        const unsigned pixel = i / kChannels, channel = i % kChannels, here = layer.first + pixel;
        if (patch.count[here] == 0) continue;
        const unsigned row = layer.top + pixel / layer.width, column = layer.left + pixel % layer.width;
        const size_t to = layer.image_first + row * layer.image_width + column;
        const unsigned from = here * kChannels + channel;
        add(sum + to * kChannels + channel, (static_cast<long long>(patch.high[from]) << kLow) + patch.low[from]);
        if (channel == 0) atomicAdd(count + to, patch.count[here]);
      }
    });
  }
}

// features [V, P, D]: the means. A pixel with a descriptor that is not finite is NaN.
extern "C" __global__ void finish(const long long* sum, const unsigned* most, int room, unsigned* count,
                                  unsigned pixels, float* features) {
  const size_t item = size_t(blockIdx.x) * blockDim.x + threadIdx.x, view = blockIdx.y;
  if (item >= size_t(pixels) * kChannels) return;
  const size_t pixel = view * pixels + item / kChannels, at = view * pixels * kChannels + item;
  const unsigned number = count[pixel] & ~kBroken;
  const float size = power_of_two(-unit(most[view], room));
  const float mean = float(sum[at]) / float(number > 1 ? number : 1) * size;
  features[at] = count[pixel] & kBroken ? __int_as_float(0x7fc00000) : mean;
}

// Takes the mark of `blend` out of the counts.
extern "C" __global__ void unmark(unsigned* count, unsigned pixels) {
  const size_t pixel = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (pixel < pixels && count[size_t(blockIdx.y) * pixels + pixel] & kBroken)
    count[size_t(blockIdx.y) * pixels + pixel] &= ~kBroken;
}

// scaled [V, P, D]: the gradient of a pixel's sum, from that of its mean, which comes in any layout.
extern "C" __global__ void unmean(const float* gradient, long long view_step, long long pixel_step,
                                  long long channel_step, const unsigned* count, unsigned pixels, float* scaled) {
  const size_t item = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const unsigned view = blockIdx.y, pixel = unsigned(item / kChannels), channel = unsigned(item % kChannels);
  if (pixel >= pixels) return;
  const unsigned number = count[size_t(view) * pixels + pixel];
  scaled[size_t(view) * pixels * kChannels + item] =
      gradient[view * view_step + pixel * pixel_step + channel * channel_step] / float(number > 1 ? number : 1);
}

// into [N, D]: adds the gradient that one view gives. Nobody else adds to a point's row: no atomics.
extern "C" __global__ void pull(UNRENDER_CALL, const float* scaled, const float* depth, unsigned pixels, float band,
                                unsigned number_of_view, float* into) {
  const Call call UNRENDER_THE_CALL;
  const View view = views[number_of_view];
  const unsigned key = ghost_key(*seed, number_of_view);
  depth += size_t(number_of_view) * pixels;
  scaled += size_t(number_of_view) * pixels * kChannels;
  __shared__ Gathered gathered;
  for (unsigned at = blockIdx.x; at < made[number_of_view]; at += gridDim.x) {
    gather(call, view, key, tasks[size_t(number_of_view) * blocks + at], gathered);
    for (unsigned item = threadIdx.x; item < gathered.count * kChannels; item += kBlock) {
      const unsigned point = item / kChannels, channel = item % kChannels;
      const Drawn drawn = gathered.drawn[point];
      float* to = into + size_t(gathered.index[point]) * kChannels + channel;
      float sum = *to;
      for_pixels(call, drawn, [&](unsigned pixel) {
        if (drawn.depth <= band * depth[pixel]) sum += scaled[size_t(pixel) * kChannels + channel];
      });
      *to = sum;
    }
  }
}
