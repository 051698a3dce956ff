#include <algorithm>
#include <atomic>
#include <bit>
#include <limits>

#include "../threads.h"
#include "rasterizer.h"
#include "rows.h"
#include "tiles.h"

namespace unrender {

namespace {

constexpr float kEmpty = std::numeric_limits<float>::infinity();

// First of the four pixels of the next finer layer that a pixel of the tile covers.
std::size_t finer(const Layout& layout, std::size_t pixel, int level) {
  return layout.local[level - 1] + 4 * (pixel - layout.local[level]);
}

// Depths of the nearest and the farthest point per pixel of the tile: in the finest layer, or in each that draws them.
void find_depths(const Layout& layout, bool discarding, Scratch& scratch) {
  Depths* depths = scratch.depths.data();
  std::fill_n(depths, discarding ? layout.tile_pixels() : layout.local[1], Depths{kEmpty, kEmpty});
  for (std::size_t i = 0; i < scratch.points; ++i) {
    const std::uint32_t pixel = scratch.where[i] >> 4;
    const Depths here{scratch.depth[i], -scratch.depth[i]};
    take_nearer(depths[pixel], here);
    for (int level = 1; discarding && level < int(scratch.where[i] & 15); ++level)
      take_nearer(depths[layout.local[level] + (pixel >> 2 * level)], here);
  }
}

// Where every point is in every layer, few need to be looked at beyond the finest: most pixels are a whole for a
// coarser one, all of their blended points lie within its depth band, or none does. Calls whole(pixel) for the largest
// of the former below a coarser pixel, and mixed(pixel) for those of the finest layer whose points are asked one by one.
// `limit`: where the band of the coarser pixel ends; `first`, `level`: the four pixels to look at.
template <class Whole, class Mixed>
void for_parts(const Layout& layout, const Depths* depths, std::size_t first, int level, float limit,
               const Whole& whole, const Mixed& mixed) {
  for (std::size_t pixel = first; pixel < first + 4; ++pixel) {
    if (depths[pixel].nearest > limit) continue;
    if (-depths[pixel].minus_farthest <= limit)
      whole(pixel);
    else if (level == 0)
      mixed(pixel);
    else
      for_parts(layout, depths, finer(layout, pixel, level), level - 1, limit, whole, mixed);
  }
}

// The same for every pixel of a layer: whole(pixel of the layer, part of it), mixed(part).
template <class Whole, class Mixed>
void for_parts_of(const Layout& layout, const Scratch& scratch, int level, float band, const Whole& whole,
                  const Mixed& mixed) {
  for (std::size_t at = layout.local[level]; at < layout.local[level + 1]; ++at) {
    if (scratch.depths[at].nearest == kEmpty) continue;
    for_parts(layout, scratch.depths.data(), finer(layout, at, level), level - 1, band * scratch.depths[at].nearest,
              [&](std::size_t part) { whole(at, part); }, mixed);
  }
}

// Depths of the coarser layers, and in which layers the points of each fine pixel are looked at one by one.
void compare_layers(const Layout& layout, float band, Scratch& scratch) {
  Depths* depths = scratch.depths.data();
  std::fill_n(scratch.alone.data(), layout.local[1], std::uint16_t(0));
  for (std::size_t i = 0; i < layout.local[1]; ++i)  // what is behind the band is not blended
    depths[i].minus_farthest = std::max(depths[i].minus_farthest, -band * depths[i].nearest);
  for (int level = 1; level < layout.layers; ++level) {
    for (std::size_t at = layout.local[level], child = layout.local[level - 1]; at < layout.local[level + 1]; ++at) {
      depths[at] = depths[child];
      for (const std::size_t last = child + 4; child < last; ++child) take_nearer(depths[at], depths[child]);
      depths[at].minus_farthest = std::max(depths[at].minus_farthest, -band * depths[at].nearest);
    }
    for_parts_of(layout, scratch, level, band, [](std::size_t, std::size_t) {},
                 [&](std::size_t pixel) { scratch.alone[pixel] |= std::uint16_t(1 << level); });
  }
}

// Rows of descriptors lie far apart; they are asked for this many points before they are needed.
constexpr std::size_t kAhead = 64;

// Calls each(where the point's row begins, pixel in the tile) for every blended pair that is not part of a whole pixel.
template <int D, class Number, class Each>
void for_pairs(const Layout& layout, Scratch& scratch, bool discarding, float band, const Number* rows, int channels,
               const Each& each) {
  // Not reached through `scratch`, which the compiler would read again after each write.
  const std::uint32_t *where = scratch.where.data(), *index = scratch.index.data();
  const std::uint16_t* alone = scratch.alone.data();
  const Depths* depths = scratch.depths.data();
  const float* depth = scratch.depth.data();
  const std::size_t stride = D ? D : channels, last = scratch.points - 1;
  std::uint32_t *later = scratch.later.data(), *end = later;
  const auto look = [&](std::size_t i, std::size_t at) {
    if (depth[i] <= band * depths[at].nearest) each(index[i] * stride, at);
  };
  const auto pixel = [&](std::size_t i, int level) { return layout.local[level] + (where[i] >> 4 >> 2 * level); };
  for (std::size_t i = 0; i <= last; ++i) {
    UNRENDER_PREFETCH(rows + index[std::min(i + kAhead, last)] * stride);
    look(i, where[i] >> 4);
    if (discarding) {
      for (int level = 1; level < int(where[i] & 15); ++level) look(i, pixel(i, level));
    } else {  // put off, without a branch: which points it will be is hard to foretell
      *end = static_cast<std::uint32_t>(i);
      end += alone[where[i] >> 4] != 0;
    }
  }
  for (; later < end; ++later) {
    UNRENDER_PREFETCH(rows + index[later[std::min<std::ptrdiff_t>(kAhead / 4, end - later - 1)]] * stride);
    for (std::uint32_t levels = alone[where[*later] >> 4]; levels; levels &= levels - 1)
      look(*later, pixel(*later, std::countr_zero(levels)));
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

// Sums and counts of whole pixels join those of the pixels that cover them.
template <int D>
void climb(const Layout& layout, float band, int channels, Scratch& scratch) {
  float* sum = scratch.sum.data();
  const auto join = [&](std::size_t pixel, std::size_t part) {
    scratch.count[pixel] += scratch.count[part];
    add<D>(sum + pixel * channels, sum + part * channels, channels);
  };
  for (int level = 1; level < layout.layers; ++level)
    for_parts_of(layout, scratch, level, band, join, [](std::size_t) {});
}

// The way back: what whole pixels get from the pixels that cover them.
template <int D>
void descend(const Layout& layout, float band, int channels, Scratch& scratch) {
  float* gradient = scratch.sum.data();
  const auto share = [&](std::size_t pixel, std::size_t part) {
    add<D>(gradient + part * channels, gradient + pixel * channels, channels);
  };
  for (int level = layout.layers - 1; level > 0; --level)
    for_parts_of(layout, scratch, level, band, share, [](std::size_t) {});
}

template <int D, class Number>
void draw_tile(const Layout& layout, int column, int row, const Settings& settings, int channels, Scratch& scratch,
               const Forward& to, std::size_t view) {
  const std::size_t pixels = layout.tile_pixels(), offset = view * layout.pixels;
  if (scratch.points == 0) return clear_tile(layout, column, row, channels, to, offset);
  const bool discarding = settings.gamma > 0;
  const auto* rows = static_cast<const Number*>(to.descriptors);
  float* sum = scratch.sum.data();
  std::int32_t* count = scratch.count.data();
  std::fill_n(count, pixels, 0);
  std::fill_n(sum, pixels * channels, 0.0f);
  find_depths(layout, discarding, scratch);
  if (!discarding) compare_layers(layout, settings.band, scratch);
  for_pairs<D>(layout, scratch, discarding, settings.band, rows, channels, [&](std::size_t point, std::size_t at) {
    ++count[at];
    add<D>(sum + at * channels, rows + point, channels);
  });
  if (!discarding) climb<D>(layout, settings.band, channels, scratch);
  for_pixels(layout, column, row, [&](std::size_t from, std::size_t at) {
    to.depth[offset + at] = scratch.depths[from].nearest;
    to.count[offset + at] = count[from];
    const auto number = static_cast<float>(std::max(count[from], 1));
    for_channels<D>(to.features + (offset + at) * channels, sum + from * channels, channels,
                    [number](auto, auto value) { return value / number; });
  });
}

template <int D>
void pull_tile(const Layout& layout, int column, int row, const Settings& settings, int channels, Scratch& scratch,
               const Backward& to, std::size_t view) {
  const bool discarding = settings.gamma > 0;
  float* gradient = scratch.sum.data();
  const std::size_t offset = view * layout.pixels;
  const float* from_view = to.gradient + static_cast<std::ptrdiff_t>(view) * to.step[0];
  std::fill_n(gradient, layout.tile_pixels() * channels, 0.0f);  // outside the image too
  for_pixels(layout, column, row, [&](std::size_t at, std::size_t from) {
    scratch.depths[at].nearest = to.depth[offset + from];
    const auto number = static_cast<float>(std::max(to.count[offset + from], 1));
    const float* pixel = from_view + static_cast<std::ptrdiff_t>(from) * to.step[1];
    float* here = gradient + at * channels;
    if (to.step[2] == 1)
      for_channels<D>(here, pixel, channels, [number](auto, auto value) { return value / number; });
    else
      for (int channel = 0; channel < channels; ++channel) here[channel] = pixel[channel * to.step[2]] / number;
  });
  if (!discarding) {
    find_depths(layout, discarding, scratch);  // the farthest are not known
    compare_layers(layout, settings.band, scratch);
    descend<D>(layout, settings.band, channels, scratch);
  }
  for_pairs<D>(layout, scratch, discarding, settings.band, to.descriptors, channels,
            [&](std::size_t point, std::size_t at) {
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

void make_room(std::vector<Scratch>& scratch, int threads, const Layout& layout, int channels) {
  if (scratch.size() < std::size_t(threads)) scratch.resize(threads);
  const std::size_t pixels = layout.tile_pixels();
  for (auto& one : scratch) {
    if (one.depths.size() < pixels) one.depths.resize(pixels), one.count.resize(pixels);
    if (one.alone.size() < layout.local[1]) one.alone.resize(layout.local[1]);
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
  make_room(scratch_, threads, layout, channels);
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
      const auto draw = [&]<class Number>(Number) {
        draw_tile<D, Number>(layout, plan.column(tile), plan.row(tile), settings, channels, scratch, tensors, view);
      };
      switch (tensors.precision) {
        case Precision::float32: return draw(float());
        case Precision::float16: return draw(Float16());
        case Precision::bfloat16: return draw(BFloat16());
      }
    });
  });
}

void Rasterizer::backward(const View* views, std::size_t count, const Settings& settings, int channels,
                          const Backward& tensors, int threads) {
  std::lock_guard<std::mutex> lock(one_call_);
  const Layout layout(settings, tile_edge(settings, channels));
  make_room(scratch_, threads, layout, channels);
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
  make_room(scratch_, threads, layout, 0);
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
