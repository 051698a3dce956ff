#include <algorithm>
#include <atomic>
#include <limits>

#include "../threads.h"
#include "rasterizer.h"
#include "rows.h"
#include "tiles.h"

namespace unrender {

namespace {

constexpr float kEmpty = std::numeric_limits<float>::infinity();

// Depth of the nearest point per pixel of the tile, all layers.
void find_nearest(const Layout& layout, bool discarding, Scratch& scratch) {
  float* nearest = scratch.nearest.data();
  std::fill_n(nearest, layout.tile_pixels(), kEmpty);
  const auto take = [nearest](std::size_t pixel, float depth) {  // no branch: which point is nearer is hard to foretell
    const float before = nearest[pixel];
    nearest[pixel] = depth < before ? depth : before;
  };
  for (std::size_t i = 0; i < scratch.points; ++i) {
    const std::uint32_t pixel = scratch.where[i] >> 4;
    take(pixel, scratch.depth[i]);
    for (int level = 1; discarding && level < int(scratch.where[i] & 15); ++level)
      take(layout.local[level] + (pixel >> 2 * level), scratch.depth[i]);
  }
  if (discarding) return;
  // Every point is in every layer: a pixel's nearest is that of the four it covers.
  for (std::size_t at = layout.local[1], child = 0; at < layout.tile_pixels(); ++at, child += 4)
    nearest[at] = *std::min_element(nearest + child, nearest + child + 4);
}

// Rows of descriptors lie far apart; they are asked for this many points before they are needed.
constexpr std::size_t kAhead = 64;

// Calls each(where the point's row begins, pixel in the tile) for every blended pair.
template <int D, class Number, class Each>
void for_pairs(const Layout& layout, const Scratch& scratch, float band, const Number* rows, int channels,
               const Each& each) {
  // Not reached through `scratch`, which the compiler would read again after each write.
  const std::uint32_t *where = scratch.where.data(), *index = scratch.index.data();
  const float *depth = scratch.depth.data(), *nearest = scratch.nearest.data();
  const std::size_t stride = D ? D : channels, points = scratch.points;
  for (std::size_t i = 0; i < points; ++i) {
    UNRENDER_PREFETCH(rows + index[std::min(i + kAhead, points - 1)] * stride);
    const std::uint32_t pixel = where[i] >> 4;
    const auto look = [&](std::size_t at) {
      if (depth[i] <= band * nearest[at]) each(index[i] * stride, at);
    };
    look(pixel);  // whatever is drawn is drawn here
    for (int level = 1; level < int(where[i] & 15); ++level) look(layout.local[level] + (pixel >> 2 * level));
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

template <int D, class Number>
void draw_tile(const Layout& layout, int column, int row, const Settings& settings, int channels, Scratch& scratch,
               const Forward& to, std::size_t view) {
  const std::size_t pixels = layout.tile_pixels(), offset = view * layout.pixels;
  if (scratch.points == 0) return clear_tile(layout, column, row, channels, to, offset);
  const auto* rows = static_cast<const Number*>(to.descriptors);
  float* sum = scratch.sum.data();
  std::int32_t* count = scratch.count.data();
  std::fill_n(count, pixels, 0);
  std::fill_n(sum, pixels * channels, 0.0f);
  find_nearest(layout, settings.gamma > 0, scratch);
  for_pairs<D>(layout, scratch, settings.band, rows, channels, [&](std::size_t point, std::size_t at) {
    ++count[at];
    add<D>(sum + at * channels, rows + point, channels);
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
  for_pairs<D>(layout, scratch, settings.band, to.descriptors, channels, [&](std::size_t point, std::size_t at) {
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
