// Rows of descriptors: float32, or half precision that is widened as it is read.
#pragma once

#include <cstdint>
#include <cstring>

namespace unrender {

struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

inline float as_float(std::uint32_t bits) {
  float number;
  std::memcpy(&number, &bits, sizeof(number));
  return number;
}

inline float widen(float number) { return number; }
inline float widen(BFloat16 number) { return as_float(std::uint32_t(number.bits) << 16); }
inline float widen(Float16 number) {
  // Exponent and mantissa moved to their places; the product mends the exponent's bias, of subnormal numbers too.
  const float size = as_float(std::uint32_t(number.bits & 0x7fffU) << 13) * as_float(0x77800000U);
  std::uint32_t bits;
  std::memcpy(&bits, &size, sizeof(bits));
  bits |= size >= 65536.0f ? 0x7f800000U : 0U;  // infinity and what is no number
  return as_float(bits | std::uint32_t(number.bits & 0x8000U) << 16);
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

template <class Number>
Four load_four(const Number* from) {
  Four result;
  if constexpr (sizeof(Number) == sizeof(float)) {
    std::memcpy(&result, from, sizeof(Four));
  } else {
    float wide[kFour];
    for (int i = 0; i < kFour; ++i) wide[i] = widen(from[i]);
    std::memcpy(&result, wide, sizeof(Four));
  }
  return result;
}

// to = change(to, from), channel by channel; four at once where the compiler knows their number D, 0 elsewhere.
template <int D, class Number, class Change>
void for_channels(float* to, const Number* from, int channels, const Change& change) {
  if constexpr (D > 0 && D % kFour == 0) {
    for (int channel = 0; channel < D; channel += kFour) {
      const Four value = change(load_four(to + channel), load_four(from + channel));
      std::memcpy(to + channel, &value, sizeof(Four));
    }
  } else {
    for (int channel = 0; channel < (D ? D : channels); ++channel)
      to[channel] = change(to[channel], widen(from[channel]));
  }
}

template <int D, class Number>
void add(float* to, const Number* from, int channels) {
  for_channels<D>(to, from, channels, [](auto old, auto value) { return old + value; });
}

}  // namespace unrender
