// All views of a batch, forward and backward, on the GPU. `cuda.py` launches these kernels in their order.
//
// A block of points is looked at by a block of threads, if `cull` says that it may be seen. Points meet in pixels by
// atomic operations, and all of them are on integers, so that their order does not matter and every run gives the same
// bits: depths are compared as the integers with their bits, points are counted, and descriptors are added in fixed
// point. The unit of that is chosen by `unit` so that N of the largest descriptor in question still fit into 62 bits: for ten
// million points it is 2^-38 of the largest, and a float of 24 bits loses nothing down to 2^-14 of it.
//
// Time goes into waiting for memory. So what a point needs is read at once, whether or not it turns out to be needed, and
// as many threads wait together as there is room for (__launch_bounds__; measured, see points_cuda.md).
//
// UNRENDER_CHANNELS: D. UNRENDER_LAYERS: L. UNRENDER_PRECISION: of descriptors: 32 float, 16 half, 8 bfloat16.
// UNRENDER_FAMILY: of the lenses of all views, see lens.h; left out where they are of several, which costs registers.
// N: points of the scene, M: those that are sorted, P: pixels of all layers, V: views.
#include "footprint.h"
#include "spatial.h"

#define UNRENDER_D __device__ inline

namespace unrender {

constexpr unsigned kChannels = UNRENDER_CHANNELS;
constexpr int kLayers = UNRENDER_LAYERS;
constexpr unsigned kBroken = 0x80000000U;  // in a pixel's count: a descriptor there is not finite

// A block that may be seen, and how many of its points.
struct Task {
  unsigned block;
  unsigned short count, look_at_normals;
};

// What kernels that look at points are told.
struct Call {
  const float* __restrict__ points;    // [7, M] sorted: position, normal, reach
  const unsigned* __restrict__ index;  // [M] their places in the scene
  unsigned number;                     // M
  const Task* __restrict__ tasks;      // [V, blocks]
  const unsigned* made;                // [V] tasks
  unsigned blocks;
  const View* views;
  const long long* seed;
  int height, width;
  float gamma;
  unsigned ghosts;  // rate * 2^32
};
#define UNRENDER_CALL                                                                                                 \
  const float *__restrict__ points, const unsigned *__restrict__ index, unsigned number,                              \
      const Task *__restrict__ tasks, const unsigned *made, unsigned blocks, const View *views,                       \
      const long long *seed, int height, int width, float gamma, unsigned ghosts
#define UNRENDER_THE_CALL \
  { points, index, number, tasks, made, blocks, views, seed, height, width, gamma, ghosts }

// A point as a view draws it: its pixel in the finest layer, and in how many layers, 0 for none.
struct Drawn {
  unsigned column, row;
  int layers;
  float depth;
  unsigned index;
};

// The task's point of this thread. No early exits: they would make what follows wait for memory once more.
template <Family F>
UNRENDER_D Drawn draw_through(const Call& call, const View& view, unsigned ghost_key, const Task& task) {
  const size_t step = call.number;
  const float* point = call.points + size_t(task.block) * kBlock + threadIdx.x;
  if (threadIdx.x >= task.count) return {0, 0, 0, 0, 0};
  const float px = point[0], py = point[step], pz = point[2 * step];
  float nx = 0, ny = 0, nz = 0, reach = 0;
  if (task.look_at_normals) nx = point[3 * step], ny = point[4 * step], nz = point[5 * step];
  if (call.gamma > 0) reach = point[6 * step];
  const unsigned index = call.index[point - call.points];
  const Seen seen = see<F>(view, px, py, pz);
  const bool in_image = int(seen.u >= 0) & int(seen.u < float(call.width)) & int(seen.v >= 0) &
                        int(seen.v < float(call.height)) & int(is_inside<F>(view, seen));
  int layers = kLayers;
  if (call.gamma > 0) {
    const float size = call.gamma * (magnification<F>(view.lens, seen) * reach);
    layers = 0;
    for (int level = 0; level < kLayers; ++level) layers += is_drawn(size, level);
  }
  const bool facing = is_facing(view, px, py, pz, nx, ny, nz);  // zeros where they need not be looked at
  const bool ghost = call.ghosts > 0 && is_ghost(ghost_key, index, call.ghosts);
  const bool drawn = in_image && facing && !ghost;
  return {unsigned(drawn ? seen.u : 0.0f), unsigned(drawn ? seen.v : 0.0f), drawn ? layers : 0, seen.depth, index};
}

UNRENDER_D Drawn draw(const Call& call, const View& view, unsigned ghost_key, const Task& task) {
  return with_family(
      view.lens, [&](auto its) { return draw_through<decltype(its)::family>(call, view, ghost_key, task); });
}

// The pixels of the pyramid that a pixel of the finest layer lies in.
struct Pixels {
  unsigned at[kLayers];
};
UNRENDER_D Pixels pixels_of(const Call& call, unsigned column, unsigned row) {
  Pixels pixels;
  unsigned first = 0;
#pragma unroll
  for (int level = 0; level < kLayers; ++level) {
    const unsigned width = (unsigned(call.width - 1) >> level) + 1, height = (unsigned(call.height - 1) >> level) + 1;
    pixels.at[level] = first + (row >> level) * width + (column >> level);
    first += width * height;
  }
  return pixels;
}

// In which layers a point is in the depth band behind the nearest, bit by bit.
UNRENDER_D unsigned layers_shown(const Drawn& drawn, const Pixels& pixels, const float* __restrict__ depth,
                                 float band) {
  float nearest[kLayers];
#pragma unroll
  for (int level = 0; level < kLayers; ++level) nearest[level] = level < drawn.layers ? depth[pixels.at[level]] : 0;
  unsigned shown = 0;
#pragma unroll
  for (int level = 0; level < kLayers; ++level)
    shown |= unsigned(level < drawn.layers && drawn.depth <= band * nearest[level]) << level;
  return shown;
}

#if UNRENDER_PRECISION == 16
// Exact; zeros and the smallest numbers too.
UNRENDER_D float widen(unsigned short half) {
  const unsigned size = half & 0x7fffU;
  const float value = __int_as_float(size << 13) * 5.192296858534828e33f;  // 2^112
  const int bits = size < 0x7c00U ? __float_as_int(value) : int(size << 13 | 0x7f800000U);
  return __int_as_float(bits | (half & 0x8000U) << 16);
}
using Scalar = unsigned short;
#elif UNRENDER_PRECISION == 8
UNRENDER_D float widen(unsigned short upper) { return __int_as_float(int(unsigned(upper) << 16)); }
using Scalar = unsigned short;
#else
UNRENDER_D float widen(float value) { return value; }
using Scalar = float;
#endif

UNRENDER_D unsigned size_bits(float value) { return unsigned(__float_as_int(value)) & 0x7fffffffU; }
UNRENDER_D bool is_finite(unsigned bits) { return bits < 0x7f800000U; }

// Channels that are read and written together.
constexpr unsigned kTogether = kChannels % 4 == 0 ? 4 : kChannels % 2 == 0 ? 2 : 1;
struct alignas(4 * kTogether) Channels {
  float value[kTogether];
};

// log2 of how many units of the fixed point make 1. `most`: bits of the largest descriptor; `room`: bits left by N.
UNRENDER_D int unit(unsigned most, int room) {
  const int below = room - (int(most >> 23) - 126);
  return below < 126 ? below : 126;  // its inverse is a float too
}
UNRENDER_D float power_of_two(int exponent) { return __int_as_float((exponent + 127) << 23); }

}  // namespace unrender

using namespace unrender;

// Which blocks may be seen in view blockIdx.y, with a `rim` of pixels around it. Their order is left to chance.
extern "C" __global__ void cull(const Block* blocks, unsigned count, unsigned points, const View* views, int height,
                                int width, int rim, float gamma, Task* tasks, unsigned* made) {
  const unsigned block = blockIdx.x * blockDim.x + threadIdx.x, view = blockIdx.y;
  if (block >= count) return;
  const unsigned left = points - block * kBlock;
  Window window{views[view], height + 2 * rim, width + 2 * rim, 64, gamma};
  window.view.lens.cx += float(rim), window.view.lens.cy += float(rim);
  const Footprint seen = footprint(blocks[block], left < kBlock ? left : kBlock, window);
  if (seen.count == 0) return;
  const unsigned at = atomicAdd(made + view, 1U);
  tasks[size_t(view) * count + at] = {block, seen.count, seen.look_at_normals};
}

// most, zero: the bits of the largest finite descriptor of the points that may be seen, in any view.
extern "C" __global__ void __launch_bounds__(kBlock, 8)
    largest(UNRENDER_CALL, const Scalar* __restrict__ descriptors, unsigned* most) {
  __shared__ unsigned most_here;
  if (threadIdx.x == 0) most_here = 0;
  __syncthreads();
  unsigned mine = 0;
  for (unsigned at = blockIdx.x; at < made[blockIdx.y]; at += gridDim.x) {
    const Task task = tasks[size_t(blockIdx.y) * blocks + at];
    if (threadIdx.x >= task.count) continue;
    const Scalar* row = descriptors + size_t(index[size_t(task.block) * kBlock + threadIdx.x]) * kChannels;
    for (unsigned channel = 0; channel < kChannels; ++channel) {
      const unsigned bits = size_bits(widen(row[channel]));
      if (is_finite(bits) && bits > mine) mine = bits;
    }
  }
  atomicMax(&most_here, mine);
  __syncthreads();
  if (threadIdx.x == 0) atomicMax(most, most_here);
}

// depth [V, P], full of +inf: of the nearest point.
extern "C" __global__ void __launch_bounds__(kBlock, 8) nearest(UNRENDER_CALL, float* depth, unsigned pixels) {
  const Call call UNRENDER_THE_CALL;
  const View view = views[blockIdx.y];
  const unsigned key = ghost_key(*seed, blockIdx.y);
  depth += size_t(blockIdx.y) * pixels;
  for (unsigned at = blockIdx.x; at < made[blockIdx.y]; at += gridDim.x) {
    const Drawn drawn = draw(call, view, key, tasks[size_t(blockIdx.y) * blocks + at]);
    if (drawn.layers == 0) continue;
    const Pixels in = pixels_of(call, drawn.column, drawn.row);
    float before[kLayers];
#pragma unroll
    for (int level = 0; level < kLayers; ++level) before[level] = level < drawn.layers ? depth[in.at[level]] : 0;
#pragma unroll
    for (int level = 0; level < kLayers; ++level)  // a value read too early is too far, and does no harm
      if (drawn.depth < before[level])
        atomicMin(reinterpret_cast<int*>(depth + in.at[level]), __float_as_int(drawn.depth));
  }
}

// A point of a task that some pixel shows.
struct Shown {
  unsigned index, column, row, layers;
};

// sum [V, P, D] and count [V, P], zeros: the points in the depth band (1 + alpha = `band`) behind the nearest.
extern "C" __global__ void __launch_bounds__(kBlock, 8)
    blend(UNRENDER_CALL, const Scalar* __restrict__ descriptors, const float* __restrict__ depth, unsigned pixels,
          const unsigned* most, float band, int room, unsigned long long* sum, unsigned* count) {
  const Call call UNRENDER_THE_CALL;
  const View view = views[blockIdx.y];
  const unsigned key = ghost_key(*seed, blockIdx.y);
  const float units = power_of_two(unit(*most, room));
  depth += size_t(blockIdx.y) * pixels;
  sum += size_t(blockIdx.y) * pixels * kChannels;
  count += size_t(blockIdx.y) * pixels;
  __shared__ Shown shown[kBlock];
  __shared__ unsigned many;
  for (unsigned at = blockIdx.x; at < made[blockIdx.y]; at += gridDim.x) {
    if (threadIdx.x == 0) many = 0;
    __syncthreads();
    const Drawn drawn = draw(call, view, key, tasks[size_t(blockIdx.y) * blocks + at]);
    const Pixels in = pixels_of(call, drawn.column, drawn.row);
    if (const unsigned layers = layers_shown(drawn, in, depth, band)) {
      shown[atomicAdd(&many, 1U)] = {drawn.index, drawn.column, drawn.row, layers};
#pragma unroll
      for (int level = 0; level < kLayers; ++level)
        if (layers >> level & 1) atomicAdd(count + in.at[level], 1U);
    }
    __syncthreads();
    // Neighbouring threads share a point, so that what they add lies together.
    for (unsigned item = threadIdx.x; item < many * kChannels; item += kBlock) {
      const Shown point = shown[item / kChannels];
      const unsigned channel = item % kChannels;
      const float value = widen(descriptors[size_t(point.index) * kChannels + channel]);
      const bool finite = is_finite(size_bits(value));
      const long long fixed = finite ? llrintf(value * units) : 0;
      const Pixels to = pixels_of(call, point.column, point.row);
#pragma unroll
      for (int level = 0; level < kLayers; ++level) {
        if (!(point.layers >> level & 1)) continue;
        atomicAdd(sum + size_t(to.at[level]) * kChannels + channel, static_cast<unsigned long long>(fixed));
        if (!finite) atomicOr(count + to.at[level], kBroken);
      }
    }
    __syncthreads();
  }
}

// features [V, P, D]: the means. A pixel with a descriptor that is not finite is NaN; its mark leaves the count.
extern "C" __global__ void finish(const long long* __restrict__ sum, const unsigned* most, int room, unsigned* count,
                                  unsigned pixels, float* __restrict__ features) {
  const size_t pixel = size_t(blockIdx.y) * pixels + size_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (blockIdx.x * blockDim.x + threadIdx.x >= pixels) return;
  const unsigned marked = count[pixel], number = marked & ~kBroken;
  const float size = power_of_two(-unit(*most, room)), divisor = float(number > 1 ? number : 1);
  for (unsigned channel = 0; channel < kChannels; channel += kTogether) {
    Channels mean{};
    for (unsigned i = 0; number > 0 && i < kTogether; ++i) {
      const float value = float(sum[pixel * kChannels + channel + i]) / divisor * size;
      mean.value[i] = marked & kBroken ? __int_as_float(0x7fc00000) : value;
    }
    *reinterpret_cast<Channels*>(features + pixel * kChannels + channel) = mean;
  }
  if (marked & kBroken) count[pixel] = number;
}

// scaled [V, P, D]: the gradient of a pixel's sum, from that of its mean, which comes in any layout. Pixels that show
// no point are left as they are.
extern "C" __global__ void unmean(const float* __restrict__ gradient, long long view_step, long long pixel_step,
                                  long long channel_step, const unsigned* __restrict__ count, unsigned pixels,
                                  float* __restrict__ scaled) {
  const unsigned view = blockIdx.y, pixel = blockIdx.x * blockDim.x + threadIdx.x;
  if (pixel >= pixels) return;
  const size_t at = size_t(view) * pixels + pixel;
  if (count[at] == 0) return;
  const float number = float(count[at]);
  const float* from = gradient + view * view_step + pixel * pixel_step;
  for (unsigned channel = 0; channel < kChannels; channel += kTogether) {
    Channels values;
    for (unsigned i = 0; i < kTogether; ++i) values.value[i] = from[(channel + i) * channel_step] / number;
    *reinterpret_cast<Channels*>(scaled + at * kChannels + channel) = values;
  }
}

// into [N, D]: adds the gradient that one view gives. Nobody else adds to a point's row: no atomics.
extern "C" __global__ void __launch_bounds__(kBlock, 4)
    pull(UNRENDER_CALL, const float* __restrict__ scaled, const float* __restrict__ depth, unsigned pixels, float band,
         unsigned number_of_view, float* __restrict__ into) {
  const Call call UNRENDER_THE_CALL;
  const View view = views[number_of_view];
  const unsigned key = ghost_key(*seed, number_of_view);
  depth += size_t(number_of_view) * pixels;
  scaled += size_t(number_of_view) * pixels * kChannels;
  for (unsigned at = blockIdx.x; at < made[number_of_view]; at += gridDim.x) {
    const Drawn drawn = draw(call, view, key, tasks[size_t(number_of_view) * blocks + at]);
    const Pixels in = pixels_of(call, drawn.column, drawn.row);
    const unsigned layers = layers_shown(drawn, in, depth, band);
    if (layers == 0) continue;
    for (unsigned channel = 0; channel < kChannels; channel += kTogether) {
      auto* to = reinterpret_cast<Channels*>(into + size_t(drawn.index) * kChannels + channel);
      Channels sum = number_of_view > 0 ? *to : Channels{}, felt[kLayers];
#pragma unroll
      for (int level = 0; level < kLayers; ++level)
        if (layers >> level & 1)
          felt[level] = *reinterpret_cast<const Channels*>(scaled + size_t(in.at[level]) * kChannels + channel);
#pragma unroll
      for (int level = 0; level < kLayers; ++level)
        if (layers >> level & 1)
          for (unsigned i = 0; i < kTogether; ++i) sum.value[i] += felt[level].value[i];
      *to = sum;
    }
  }
}

// The derivative by all that moves points: spatial_cpu.cpp says the same for the CPU.

namespace unrender {

enum class Carriers : int { ghosts, rendered, both };

struct Spatial {
  const float* __restrict__ image;     // [P, D] of the view, the environment in it
  const float* __restrict__ gradient;  // [P, D]
  const int* __restrict__ count;       // [P]
  const float* __restrict__ depth;     // [P]
  Carriers carriers;
  Moves moves;
  float slope, fuzzy, alpha;
};

// A point that may move: its pixel, which may lie outside the image.
struct Mover {
  int column, row, layers;
  float depth, relief;
  const float* descriptors;
};

UNRENDER_D bool is_in_image(const Call& call, int column, int row) {
  return column >= 0 && column < call.width && row >= 0 && row < call.height;
}

UNRENDER_D Arrival arrive(const Spatial& tensors, const Mover& mover, int level, bool at_home, unsigned home,
                          unsigned there) {
  const Stand found{tensors.depth[there], tensors.count[there]};
  if (tensors.moves == Moves::replace) return {1.0f, false};
  if (tensors.moves == Moves::alone) return {arrival_share(mover.depth, found, tensors.fuzzy), false};
  if (!at_home) return {0.0f, false};
  const float band = 1.0f + (tensors.alpha + float(1 << level) * mover.relief);
  return arrive_together(mover.depth, {tensors.depth[home], tensors.count[home]}, found, tensors.fuzzy, band);
}

// d loss / d (u, v), per fine pixel: Eq. 9 to 11, over all layers that draw the point.
UNRENDER_D void pixel_gradient(const Call& call, const Spatial& tensors, const Mover& mover, double& by_u,
                               double& by_v) {
  by_u = by_v = 0;
  const bool at_home = is_in_image(call, mover.column, mover.row);
  unsigned first = 0;
  for (int level = 0; level < mover.layers; ++level) {
    const unsigned width = (unsigned(call.width - 1) >> level) + 1, height = (unsigned(call.height - 1) >> level) + 1;
    const auto pixel = [&](int column, int row) { return first + unsigned(row >> level) * width + (column >> level); };
    const unsigned home = at_home ? pixel(mover.column, mover.row) : 0;
    for (int way = 0; way < 4; ++way) {  // left, right, up, down
      const int sign = way & 1 ? 1 : -1, step = sign * (1 << level);
      const int column = mover.column + (way < 2 ? step : 0), row = mover.row + (way < 2 ? 0 : step);
      if (!is_in_image(call, column, row)) continue;
      const unsigned there = pixel(column, row);
      const Arrival arrival = arrive(tensors, mover, level, at_home, home, there);
      if (arrival.share == 0) continue;
      double change = 0;
      for (unsigned channel = 0; channel < kChannels; ++channel) {
        float felt = tensors.gradient[size_t(there) * kChannels + channel];
        if (arrival.uncovers) felt += tensors.gradient[size_t(home) * kChannels + channel];
        change += double((mover.descriptors[channel] - tensors.image[size_t(there) * kChannels + channel]) * felt);
      }
      (way < 2 ? by_u : by_v) += 0.5 * sign / double(1 << level) * arrival.share * change;
    }
    first += width * height;
  }
}

// The task's point of this thread, no layers where it does not carry.
template <Family F>
UNRENDER_D Mover mover_of(const Call& call, const View& view, unsigned ghost_key, const Task& task,
                          const Spatial& tensors, const float* descriptors, unsigned& index, float* place) {
  Mover mover{0, 0, 0, 0, 0, nullptr};
  if (threadIdx.x >= task.count) return mover;
  const size_t step = call.number;
  const float* point = call.points + size_t(task.block) * kBlock + threadIdx.x;
  for (int axis = 0; axis < 3; ++axis) place[axis] = point[axis * step];
  float nx = 0, ny = 0, nz = 0;
  if (task.look_at_normals) nx = point[3 * step], ny = point[4 * step], nz = point[5 * step];
  const float reach = point[6 * step];
  index = call.index[point - call.points];
  const Seen seen = see<F>(view, place[0], place[1], place[2]);
  const float margin = float(1 << (kLayers - 1));
  const bool near = seen.u >= -margin && seen.u < float(call.width) + margin && seen.v >= -margin &&
                    seen.v < float(call.height) + margin;
  const bool ghost = is_ghost(ghost_key, index, call.ghosts);
  const bool carries = ghost ? tensors.carriers != Carriers::rendered : tensors.carriers != Carriers::ghosts;
  if (!(carries && near && is_inside<F>(view, seen) && is_facing(view, place[0], place[1], place[2], nx, ny, nz)))
    return mover;
  const float scale = magnification<F>(view.lens, seen);
  int layers = kLayers;
  if (call.gamma > 0)
    for (layers = 0; layers < kLayers && is_drawn(call.gamma * (scale * reach), layers);) ++layers;
  return {int(floorf(seen.u)), int(floorf(seen.v)),
          layers,              seen.depth,
          tensors.slope / (seen.depth * scale), descriptors + size_t(index) * kChannels};
}

// The numbers of a row of `rows` that points pull at, in the order of `Pull`: those that all families have, then terms. As
// many as the first are added up together.
constexpr unsigned kPulled = 20;
constexpr unsigned kGroups = 8;
UNRENDER_D unsigned place_in_row(unsigned number) {
  if (number >= kPulled) return unsigned(kViewFloats - kTerms) + (number - kPulled);
  return number < 12 ? number : number < 16 ? number + 3 : number + 5;  // after the eye, after the scale
}

}  // namespace unrender

// position [N, 3]: adds what one view gives. rows [blocks, kViewFloats], zeros: what each block adds to the view's row, so
// that the sum over blocks has one order. Null where nobody asks.
extern "C" __global__ void __launch_bounds__(kBlock)
    move(UNRENDER_CALL, const float* __restrict__ image, const float* __restrict__ gradient,
         const int* __restrict__ count, const float* __restrict__ depth, const float* __restrict__ descriptors,
         int carriers, int moves, float slope, float fuzzy, float alpha, unsigned number_of_view, float* position,
         double* rows) {
  const Call call UNRENDER_THE_CALL;
  const Spatial tensors{image, gradient, count, depth, Carriers(carriers), Moves(moves), slope, fuzzy, alpha};
  const View view = views[number_of_view];
  const unsigned key = ghost_key(*seed, number_of_view);
  __shared__ double pulls[kPulled * kBlock], groups[kPulled * kGroups];
  for (unsigned at = blockIdx.x; at < made[number_of_view]; at += gridDim.x) {
    const Task task = tasks[size_t(number_of_view) * blocks + at];
    unsigned index_here = 0;
    float place[3] = {0, 0, 0};
    Pull pull{};
    const unsigned pulled = kPulled + with_family(view.lens, [&](auto its) {
      constexpr Family family = decltype(its)::family;
      const Mover mover = mover_of<family>(call, view, key, task, tensors, descriptors, index_here, place);
      double by_u = 0, by_v = 0;
      if (mover.layers > 0) pixel_gradient(call, tensors, mover, by_u, by_v);
      if (by_u != 0 || by_v != 0) {
        pull = pull_back<family>(view, place[0], place[1], place[2], by_u, by_v);
        for (int axis = 0; position && axis < 3; ++axis)
          position[3 * size_t(index_here) + axis] += float(pull.position[axis]);
      }
      return unsigned(terms_of(family));
    });
    if (!rows) continue;
    const double* numbers = reinterpret_cast<const double*>(&pull) + 3;  // all but the position
    for (unsigned first = 0; first < pulled; first += kPulled, numbers += kPulled) {
      const unsigned together = pulled - first < kPulled ? pulled - first : kPulled;
      __syncthreads();
      for (unsigned number = 0; number < together; ++number) pulls[number * kBlock + threadIdx.x] = numbers[number];
      __syncthreads();
      if (threadIdx.x < together * kGroups) {  // each begins elsewhere, so that memory banks are not fought over
        double sum = 0;
        for (unsigned i = 0; i < kBlock / kGroups; ++i)
          sum += pulls[threadIdx.x * (kBlock / kGroups) + (i + threadIdx.x) % (kBlock / kGroups)];
        groups[threadIdx.x] = sum;
      }
      __syncthreads();
      if (threadIdx.x < together) {
        double sum = 0;
        for (unsigned group = 0; group < kGroups; ++group) sum += groups[threadIdx.x * kGroups + group];
        rows[size_t(task.block) * kViewFloats + place_in_row(first + threadIdx.x)] = sum;
      }
    }
  }
}
