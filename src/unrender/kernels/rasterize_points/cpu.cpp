#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <limits>

#include "../threads.h"
#include "rasterizer.h"

namespace unrender {

namespace {

constexpr int kMostLayers = 12;
constexpr float kEmpty = std::numeric_limits<float>::infinity();

// Where a tile's pixels lie, in the tile and in the pyramid.
struct Layout {
  int edge;                                        // of the tile in the finest layer
  int layers;
  std::array<std::size_t, kMostLayers + 1> local;  // first pixel of each layer in the tile
  struct Level {
    std::size_t first;  // pixel of the pyramid
    int height, width;
  };
  std::array<Level, kMostLayers> levels;
  std::size_t pixels = 0;  // P

  Layout(const Settings& settings, int tile) : edge(tile), layers(settings.layers) {
    local[0] = 0;
    for (int level = 0; level < layers; ++level) {
      const int cell = 1 << level, side = edge >> level;
      levels[level] = {pixels, (settings.height + cell - 1) / cell, (settings.width + cell - 1) / cell};
      pixels += std::size_t(levels[level].height) * levels[level].width;
      local[level + 1] = local[level] + std::size_t(side) * side;
    }
  }
};

int tile_edge(const Settings& settings, int channels) {
  const int fits = channels <= 4 ? 128 : 64;  // sums of all layers stay in the second cache
  return std::max(fits, 1 << (settings.layers - 1));
}

std::uint32_t every_second_bit(std::uint32_t x) {
  x = (x | x << 8) & 0x00ff00ffU;
  x = (x | x << 4) & 0x0f0f0f0fU;
  x = (x | x << 2) & 0x33333333U;
  return (x | x << 1) & 0x55555555U;
}

// Calls each(pixel in the tile, pixel in the pyramid) for a tile's pixels inside the image.
template <class Each>
void for_pixels(const Layout& layout, int column, int row, const Each& each) {
  static const auto spread = [] {
    std::array<std::uint32_t, 1 << (kMostLayers - 1)> bits;
    for (std::uint32_t i = 0; i < bits.size(); ++i) bits[i] = every_second_bit(i);
    return bits;
  }();
  for (int level = 0; level < layout.layers; ++level) {
    const int side = layout.edge >> level, left = column * side, top = row * side;
    const auto& size = layout.levels[level];
    const int right = std::min(left + side, size.width), bottom = std::min(top + side, size.height);
    for (int y = top; y < bottom; ++y) {
      const std::size_t in_row = layout.local[level] + (spread[y - top] << 1);
      const std::size_t begin = size.first + std::size_t(y) * size.width;
      for (int x = left; x < right; ++x) each(in_row + spread[x - left], begin + x);
    }
  }
}

// What a tile knows of the points of one block.
struct Projected {
  alignas(64) float x[kBlock], y[kBlock], inverse[kBlock], depth[kBlock];
  alignas(64) std::uint32_t pixel[kBlock];
  alignas(64) std::int32_t layers[kBlock];
};

// Simple loops over a block that stays in the first cache; each of them vectorises.
void project(const PointBlocks& blocks, const Plan& plan, const Plan::Entry& entry, std::size_t tile,
             const Settings& settings, Projected& to) {
  const View view = plan.window.view;
  const std::uint32_t first = blocks.begin(entry.block);
  const int count = entry.count, layers = settings.layers;
  const float *px = blocks.px.data() + first, *py = blocks.py.data() + first, *pz = blocks.pz.data() + first;
  const std::int32_t edge = plan.window.tile, left = plan.column(tile) * edge, top = plan.row(tile) * edge;
  const auto width = static_cast<float>(settings.width), height = static_cast<float>(settings.height);
  for (int i = 0; i < count; ++i) {
    const Seen seen = see(view, px[i], py[i], pz[i]);
    const bool in_image = bool(int(is_inside(view, seen)) & int(seen.u >= 0) & int(seen.u < width) & int(seen.v >= 0) &
                               int(seen.v < height));
    const std::int32_t u = static_cast<std::int32_t>(in_image ? seen.u : 0.0f) - left;
    const std::int32_t v = static_cast<std::int32_t>(in_image ? seen.v : 0.0f) - top;
    const bool in_tile = bool(int(in_image) & int(u >= 0) & int(u < edge) & int(v >= 0) & int(v < edge));
    to.pixel[i] = every_second_bit(std::uint32_t(u)) | every_second_bit(std::uint32_t(v)) << 1;
    to.depth[i] = seen.depth;
    to.x[i] = seen.x, to.y[i] = seen.y, to.inverse[i] = seen.inverse_depth;
    to.layers[i] = in_tile ? layers : 0;
  }
  if (settings.gamma > 0) {
    const float* reach = blocks.reach.data() + first;
    float* size = to.x;  // in place
    for (int i = 0; i < count; ++i)
      size[i] = settings.gamma * (magnification(view.lens, to.x[i], to.y[i], to.inverse[i]) * reach[i]);
    for (int i = 0; i < count; ++i) {
      std::int32_t drawn = 0;
      for (int level = 0; level < kMostLayers; ++level) drawn += int(is_drawn(size[i], level));
      to.layers[i] = std::min(to.layers[i], drawn);
    }
  }
  if (entry.look_at_normals) {
    const float *nx = blocks.nx.data() + first, *ny = blocks.ny.data() + first, *nz = blocks.nz.data() + first;
    for (int i = 0; i < count; ++i)
      to.layers[i] = is_facing(view, px[i], py[i], pz[i], nx[i], ny[i], nz[i]) ? to.layers[i] : 0;
  }
  if (settings.ghosts > 0) {
    const std::uint32_t* index = blocks.index.data() + first;
    for (int i = 0; i < count; ++i)
      to.layers[i] = is_ghost(plan.ghost_key, index[i], settings.ghosts) ? 0 : to.layers[i];
  }
}

// The points of a tile that are drawn in any layer, in the order of the blocks.
void collect(const PointBlocks& blocks, const Plan& plan, std::size_t tile, const Settings& settings,
             Scratch& scratch) {
  Projected seen;
  std::size_t points = 0;
  for (std::size_t at = plan.begin[tile]; at < plan.begin[tile + 1]; ++at) {
    const Plan::Entry& entry = plan.entries[at];
    project(blocks, plan, entry, tile, settings, seen);
    if (scratch.where.size() < points + kBlock) {
      const std::size_t room = 2 * points + kBlock;
      scratch.where.resize(room), scratch.index.resize(room), scratch.depth.resize(room);
    }
    const std::uint32_t* index = blocks.index.data() + blocks.begin(entry.block);
    for (int i = 0; i < entry.count; ++i) {  // without branches: what is not drawn is overwritten
      scratch.where[points] = seen.pixel[i] << 4 | static_cast<std::uint32_t>(seen.layers[i]);
      scratch.depth[points] = seen.depth[i];
      scratch.index[points] = index[i];
      points += seen.layers[i] > 0;
    }
  }
  scratch.points = points;
}

// Nearest depth per pixel of the tile, all layers.
void find_nearest(const Layout& layout, bool all_layers, Scratch& scratch) {
  float* nearest = scratch.nearest.data();
  std::fill_n(nearest, layout.local[layout.layers], kEmpty);
  for (std::size_t i = 0; i < scratch.points; ++i) {
    const std::uint32_t pixel = scratch.where[i] >> 4;
    const int layers = all_layers ? 1 : int(scratch.where[i] & 15);
    for (int level = 0; level < layers; ++level) {
      float& at = nearest[layout.local[level] + (pixel >> 2 * level)];
      at = std::min(at, scratch.depth[i]);
    }
  }
  if (!all_layers) return;
  // Every point is in every layer: a pixel's nearest is that of the four it covers.
  for (int level = 1; level < layout.layers; ++level) {
    const float* fine = nearest + layout.local[level - 1];
    float* coarse = nearest + layout.local[level];
    for (std::size_t i = 0; i < layout.local[level + 1] - layout.local[level]; ++i, fine += 4)
      coarse[i] = std::min(std::min(fine[0], fine[1]), std::min(fine[2], fine[3]));
  }
}

#if defined(__GNUC__)
using Four = float __attribute__((vector_size(16)));
constexpr int kFour = 4;
#define UNRENDER_PREFETCH(address) __builtin_prefetch(address)
#else
using Four = float;
constexpr int kFour = 1;
#define UNRENDER_PREFETCH(address) (void)(address)
#endif

// Rows of descriptors lie far apart; they are asked for this many points before they are needed.
constexpr std::size_t kAhead = 32;

// to = change(to, from), channel by channel; four at once where the compiler knows their number D, which is 0 elsewhere.
template <int D, class Change>
void for_channels(float* to, const float* from, int channels, const Change& change) {
  if constexpr (D > 0 && D % kFour == 0) {
    for (int channel = 0; channel < D; channel += kFour) {
      Four old, value;
      std::memcpy(&old, to + channel, sizeof(Four));
      std::memcpy(&value, from + channel, sizeof(Four));
      value = change(old, value);
      std::memcpy(to + channel, &value, sizeof(Four));
    }
  } else {
    for (int channel = 0; channel < (D ? D : channels); ++channel) to[channel] = change(to[channel], from[channel]);
  }
}

template <int D>
void add(float* to, const float* from, int channels) {
  for_channels<D>(to, from, channels, [](auto old, auto value) { return old + value; });
}

// Calls each(where the point's row begins, pixel in the tile) for every blended pair.
template <class Each>
void for_pairs(const Layout& layout, const Scratch& scratch, float band, const float* rows, int channels,
                const Each& each) {
  for (std::size_t i = 0; i < scratch.points; ++i) {
    UNRENDER_PREFETCH(rows + std::size_t(scratch.index[std::min(i + kAhead, scratch.points - 1)]) * channels);
    const std::uint32_t pixel = scratch.where[i] >> 4;
    const int layers = int(scratch.where[i] & 15);
    const float depth = scratch.depth[i];
    const std::size_t row = std::size_t(scratch.index[i]) * channels;
    for (int level = 0; level < layers; ++level) {
      const std::size_t at = layout.local[level] + (pixel >> 2 * level);
      if (depth <= band * scratch.nearest[at]) each(row, at);
    }
  }
}

void clear_tile(const Layout& layout, int column, int row, int channels, const Forward& to, std::size_t offset) {
  for (int level = 0; level < layout.layers; ++level) {
    const int side = layout.edge >> level, left = column * side, top = row * side;
    const auto& size = layout.levels[level];
    const int width = std::min(side, size.width - left), bottom = std::min(top + side, size.height);
    for (int y = top; width > 0 && y < bottom; ++y) {
      const std::size_t begin = offset + size.first + std::size_t(y) * size.width + left;
      std::fill_n(to.features + begin * channels, std::size_t(width) * channels, 0.0f);
      std::fill_n(to.count + begin, width, 0);
      std::fill_n(to.depth + begin, width, kEmpty);
    }
  }
}

template <int D>
void draw_tile(const Layout& layout, int column, int row, const Settings& settings, int channels, Scratch& scratch,
               const Forward& to, std::size_t view) {
  const std::size_t pixels = layout.local[layout.layers], offset = view * layout.pixels;
  if (scratch.points == 0) return clear_tile(layout, column, row, channels, to, offset);
  float* sum = scratch.sum.data();
  std::int32_t* count = scratch.count.data();
  std::fill_n(count, pixels, 0);
  std::fill_n(sum, pixels * channels, 0.0f);
  for_pairs(layout, scratch, settings.band, to.descriptors, channels, [&](std::size_t point, std::size_t at) {
    ++count[at];
    add<D>(sum + at * channels, to.descriptors + point, channels);
  });
  for_pixels(layout, column, row, [&](std::size_t from, std::size_t at) {
    to.depth[offset + at] = scratch.nearest[from];
    to.count[offset + at] = count[from];
    const auto number = static_cast<float>(std::max(count[from], 1));
    for_channels<D>(to.features + (offset + at) * channels, sum + from * channels, channels,
                    [number](auto, auto value) { return value / number; });
  });
}

template <int D>
void pull_tile(const Layout& layout, int column, int row, const Settings& settings, int channels, Scratch& scratch,
               const Backward& to, std::size_t view) {
  float* gradient = scratch.sum.data();
  const std::size_t offset = view * layout.pixels;
  const float* from_view = to.gradient + static_cast<std::ptrdiff_t>(view) * to.step[0];
  for_pixels(layout, column, row, [&](std::size_t at, std::size_t from) {
    scratch.nearest[at] = to.depth[offset + from];
    const auto number = static_cast<float>(std::max(to.count[offset + from], 1));
    const float* pixel = from_view + static_cast<std::ptrdiff_t>(from) * to.step[1];
    float* here = gradient + at * channels;
    if (to.step[2] == 1)
      for_channels<D>(here, pixel, channels, [number](auto, auto value) { return value / number; });
    else
      for (int channel = 0; channel < channels; ++channel) here[channel] = pixel[channel * to.step[2]] / number;
  });
  for_pairs(layout, scratch, settings.band, to.descriptors, channels, [&](std::size_t point, std::size_t at) {
    add<D>(to.descriptors + point, gradient + at * channels, channels);
  });
}

// Calls work<D>() with the number of channels known to the compiler where it is a usual one.
template <class Work>
void with_channels(int channels, const Work& work) {
  switch (channels) {
    case 3: return work.template operator()<3>();
    case 4: return work.template operator()<4>();
    case 8: return work.template operator()<8>();
    case 16: return work.template operator()<16>();
    case 32: return work.template operator()<32>();
    default: return work.template operator()<0>();
  }
}

void make_room(std::vector<Scratch>& scratch, int threads, std::size_t pixels, int channels) {
  if (scratch.size() < std::size_t(threads)) scratch.resize(threads);
  for (auto& one : scratch) {
    if (one.nearest.size() < pixels) one.nearest.resize(pixels), one.count.resize(pixels);
    if (one.sum.size() < pixels * channels) one.sum.resize(pixels * channels);
  }
}

}  // namespace

// Which blocks each tile of a view must look at.
void Rasterizer::prepare(const View& view, std::size_t number, const Settings& settings, int edge, int threads,
                         Plan& plan) {
  constexpr std::size_t kRun = 512;  // blocks per task
  plan.window = {view, settings.height, settings.width, edge, settings.gamma};
  plan.ghost_key = ghost_key(settings.seed, static_cast<unsigned>(number));
  footprints_.resize(blocks_.blocks());
  Pool::shared().run((blocks_.blocks() + kRun - 1) / kRun, threads, [&](std::size_t run, int) {
    for (std::size_t block = run * kRun; block < std::min((run + 1) * kRun, blocks_.blocks()); ++block)
      footprints_[block] = blocks_.footprint(block, plan.window);
  });
  const std::size_t columns = (settings.width + edge - 1) / edge, rows = (settings.height + edge - 1) / edge;
  plan.columns = static_cast<int>(columns);
  const auto for_tiles = [&](const auto& each) {
    for (std::size_t block = 0; block < footprints_.size(); ++block) {
      const Footprint& seen = footprints_[block];
      if (seen.count == 0) continue;
      for (std::size_t row = seen.top; row < seen.bottom; ++row)
        for (std::size_t column = seen.left; column < seen.right; ++column) each(row * columns + column, block);
    }
  };
  // Counted, then placed one tile further on, which leaves `begin` at the beginnings.
  plan.begin.assign(columns * rows + 2, 0);
  for_tiles([&](std::size_t tile, std::size_t) { ++plan.begin[tile + 2]; });
  for (std::size_t tile = 2; tile < plan.begin.size(); ++tile) plan.begin[tile] += plan.begin[tile - 1];
  plan.entries.resize(plan.begin.back());
  for_tiles([&](std::size_t tile, std::size_t block) {
    const Footprint& seen = footprints_[block];
    plan.entries[plan.begin[tile + 1]++] = {static_cast<std::uint32_t>(block), seen.count, seen.look_at_normals};
  });
}

void Rasterizer::forward(const View* views, std::size_t count, const Settings& settings, int channels,
                         const Forward& tensors, int threads) {
  std::lock_guard<std::mutex> lock(one_call_);
  const Layout layout(settings, tile_edge(settings, channels));
  make_room(scratch_, threads, layout.local[layout.layers], channels);
  plans_.resize(std::max(plans_.size(), count));
  for (std::size_t view = 0; view < count; ++view)
    prepare(views[view], view, settings, layout.edge, threads, plans_[view]);
  const std::size_t tiles = plans_[0].tiles();
  with_channels(channels, [&]<int D>() {
    Pool::shared().run(count * tiles, threads, [&](std::size_t task, int worker) {
      const std::size_t view = task / tiles, tile = task % tiles;
      const Plan& plan = plans_[view];
      Scratch& scratch = scratch_[worker];
      collect(blocks_, plan, tile, settings, scratch);
      find_nearest(layout, !(settings.gamma > 0), scratch);
      draw_tile<D>(layout, plan.column(tile), plan.row(tile), settings, channels, scratch, tensors, view);
    });
  });
}

void Rasterizer::backward(const View* views, std::size_t count, const Settings& settings, int channels,
                          const Backward& tensors, int threads) {
  std::lock_guard<std::mutex> lock(one_call_);
  const Layout layout(settings, tile_edge(settings, channels));
  make_room(scratch_, threads, layout.local[layout.layers], channels);
  plans_.resize(std::max<std::size_t>(plans_.size(), 1));
  Plan& plan = plans_[0];
  // One view after the other: within a view a point lies in one tile, and no two threads add to one row.
  for (std::size_t view = 0; view < count; ++view) {
    prepare(views[view], view, settings, layout.edge, threads, plan);
    with_channels(channels, [&]<int D>() {
      Pool::shared().run(plan.tiles(), threads, [&](std::size_t tile, int worker) {
        Scratch& scratch = scratch_[worker];
        collect(blocks_, plan, tile, settings, scratch);
        if (scratch.points == 0) return;
        pull_tile<D>(layout, plan.column(tile), plan.row(tile), settings, channels, scratch, tensors, view);
      });
    });
  }
}

std::size_t Rasterizer::draw_nothing(const View* views, std::size_t count, const Settings& settings, int threads) {
  std::lock_guard<std::mutex> lock(one_call_);
  const Layout layout(settings, tile_edge(settings, 4));
  make_room(scratch_, threads, 0, 0);
  plans_.resize(std::max<std::size_t>(plans_.size(), 1));
  Plan& plan = plans_[0];
  std::atomic<std::size_t> points = 0;
  for (std::size_t view = 0; view < count; ++view) {
    prepare(views[view], view, settings, layout.edge, threads, plan);
    Pool::shared().run(plan.tiles(), threads, [&](std::size_t tile, int worker) {
      collect(blocks_, plan, tile, settings, scratch_[worker]);
      points += scratch_[worker].points;
    });
  }
  return points;
}

}  // namespace unrender
