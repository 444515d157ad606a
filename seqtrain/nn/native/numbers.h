// Number formats, vectors and functions that the kernels share. They are written with the vector extension of GCC and
// Clang: the compiler chooses the instructions of the machine at hand, and takes several where it has no such long ones.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace seqtrain {

struct bfloat16 {
    uint16_t bits;
};

constexpr int64_t LANES = 16;

typedef float vector __attribute__((vector_size(4 * LANES)));
typedef int32_t integers __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef int16_t shorts __attribute__((vector_size(2 * LANES)));

// Eight lanes of a and of b from this one on, in turn.
#define LANES_FROM(first)                                                                                         \
    first, first + 16, first + 1, first + 17, first + 2, first + 18, first + 3, first + 19, first + 4, first + 20, \
        first + 5, first + 21, first + 6, first + 22, first + 7, first + 23
#if defined(__clang__)
#define INTERLEAVE(a, b, first) __builtin_shufflevector(a, b, LANES_FROM(first))
#else
#define INTERLEAVE(a, b, first) __builtin_shuffle(a, b, (integers){LANES_FROM(first)})
#endif

inline vector broadcast(float x) { return x - vector{}; }

inline int64_t round_up(int64_t size) { return (size + LANES - 1) / LANES * LANES; }

// Calls f with a count as a constant, which is MOST or less.
template <int64_t MOST, class F>
void with_constant(int64_t count, F f) {
    if constexpr (MOST > 1)
        if (count < MOST) return with_constant<MOST - 1>(count, f);
    f(std::integral_constant<int64_t, MOST>());
}

// Calls f with the first of some rows and their number as a constant, MOST or less, until all are done. The parts are of
// like sizes: a product of one row takes as long as one of four, for each addition waits for the one before.
template <int64_t MOST, class F>
void in_parts(int64_t num_rows, F f) {
    const int64_t num_parts = (num_rows + MOST - 1) / MOST;
    for (int64_t part = 0, first = 0; part < num_parts; ++part) {
        const int64_t count = (num_rows - first) / (num_parts - part);
        with_constant<MOST>(count, [&](auto constant) { f(first, constant); });
        first += count;
    }
}

// ---- Numbers in memory --------------------------------------------------------------------------------------------

inline float load(float x) { return x; }

inline float load(bfloat16 x) {
    const uint32_t bits = uint32_t(x.bits) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline void store(float* place, float x) { *place = x; }

// To the nearest, ties to even; x is a number.
inline void store(bfloat16* place, float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    place->bits = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline vector load_vector(const float* place) {
    vector values;
    std::memcpy(&values, place, sizeof values);
    return values;
}

// The bits of LANES numbers of 16.
inline words load_bits(const bfloat16* place) {
    halves bits;
    std::memcpy(&bits, place, sizeof bits);
#if defined(__AVX512F__)  // GCC 12 makes five instructions of what is one
    return (words)_mm512_cvtepu16_epi32((__m256i)bits);
#else
    return __builtin_convertvector(bits, words);
#endif
}

inline vector load_vector(const bfloat16* place) { return (vector)(load_bits(place) << 16); }

inline void store_vector(float* place, vector values) { std::memcpy(place, &values, sizeof values); }

// To the nearest, ties to even. A NaN stays one: a bit is set that is not cut off.
inline void store_vector(bfloat16* place, vector values) {
#if defined(__AVX512BF16__)  // one instruction, to which what is less than a normal number is 0
    const __m256bh result = _mm512_cvtneps_pbh((__m512)values);
#else
    const words bits = (words)values;
    const words rounded = bits + 0x7fff + ((bits >> 16) & 1);
    const halves result = __builtin_convertvector((values == values ? rounded : bits | 0x400000) >> 16, halves);
#endif
    std::memcpy(place, &result, sizeof result);
}

// The bits that LANES numbers have in bf16.
inline words load_bits(const float* place) {
    bfloat16 rounded[LANES];
    store_vector(rounded, load_vector(place));
    return load_bits(rounded);
}

// LANES pairs of numbers in bf16, the first of each in the lower half of a lane.
inline words load_pairs(const bfloat16* place) {
    words pairs;
    std::memcpy(&pairs, place, sizeof pairs);
    return pairs;
}

inline words load_pairs(const float* place) {
#if defined(__AVX512BF16__)
    return (words)_mm512_cvtne2ps_pbh((__m512)load_vector(place + LANES), (__m512)load_vector(place));
#else
    bfloat16 rounded[2 * LANES];
    store_vector(rounded, load_vector(place));
    store_vector(rounded + LANES, load_vector(place + LANES));
    return load_pairs(rounded);
#endif
}

inline void store_pairs(bfloat16* place, words pairs) { std::memcpy(place, &pairs, sizeof pairs); }

// Lane by lane: sum + the product of the first numbers of two pairs + that of the second ones.
inline vector add_products(vector sum, words a, words b) {
#if defined(__AVX512BF16__)  // to which what is less than a normal number is 0
    return (vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    const vector first = (vector)(a << 16) * (vector)(b << 16);
    return sum + first + (vector)(a & 0xffff0000) * (vector)(b & 0xffff0000);
#endif
}

// Numbers of rows that are no multiple of LANES: the rest of the last vector is `filler`.
template <class T>
vector load_part(const T* place, int64_t size, float filler) {
    vector values = broadcast(filler);
    for (int64_t lane = 0; lane < size; ++lane) values[lane] = load(place[lane]);
    return values;
}

template <class T>
void store_part(T* place, int64_t size, vector values) {
    T row[LANES];
    store_vector(row, values);
    std::memcpy(place, row, size * sizeof(T));
}

// ---- Functions ----------------------------------------------------------------------------------------------------

// Lane by lane; a NaN in x is passed over.
inline vector greater_of(vector x, vector than) { return x > than ? x : than; }

inline float greatest_lane(vector values) {
    float greatest = values[0];
    for (int64_t lane = 1; lane < LANES; ++lane) greatest = values[lane] > greatest ? values[lane] : greatest;
    return greatest;
}

// Halves are added until one number is left.
inline float sum_of_lanes(vector values) {
#if defined(__AVX512F__)  // in registers; through memory each halving waits for the one before to be written
    return _mm512_reduce_add_ps((__m512)values);
#else
    float halved[LANES];
    store_vector(halved, values);
    for (int64_t size = LANES / 2; size > 0; size /= 2)
        for (int64_t lane = 0; lane < size; ++lane) halved[lane] += halved[lane + size];
    return halved[0];
#endif
}

// Rows and columns of a square change places: four times, its halves are interleaved row by row.
inline void transpose_tile(vector (&rows)[LANES]) {
    for (int stage = 0; stage < 4; ++stage) {
        vector next[LANES];
        for (int64_t r = 0; r < LANES / 2; ++r) {
            const vector above = rows[r], below = rows[r + LANES / 2];
            next[2 * r] = INTERLEAVE(above, below, 0);
            next[2 * r + 1] = INTERLEAVE(above, below, 8);
        }
        for (int64_t r = 0; r < LANES; ++r) rows[r] = next[r];
    }
}

// exp(r) for |r| <= ln(2) / 2, of a number or of LANES.
template <class T>
inline T taylor(T r) {
    T p = r * (1.0f / 720) + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    return p * r + 1.0f;
}

// exp(x) for x <= 0, a number, within 2 units in the last place; of less than -87 it is exp(-87). For loops that a
// compiler turns into vector instructions.
inline float exponential(float x) {
    x = x > -87.0f ? x : -87.0f;
    const float n = __builtin_rintf(x * 1.44269504f);
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
    const float p = taylor(r);
    const uint32_t bits = uint32_t(int32_t(n) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, sizeof power);
    return p * power;
}

// The same of LANES numbers at once, and 0 below -87, where float32 has no more normal numbers. Of a NaN
// it is a NaN, so that a loss that is none is seen to be none.
inline vector exponential(vector x) {
    const vector clamped = x < -87.0f ? broadcast(-87.0f) : x;
    const integers powers = __builtin_convertvector(clamped * 1.44269504f - 0.5f, integers);  // to the nearest
    const vector n = __builtin_convertvector(powers, vector);
    const vector r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
    const vector p = taylor(r);
    const vector power = (vector)((powers + 127) << 23);
    return x < -87.0f ? broadcast(0.0f) : p * power;
}

}  // namespace seqtrain
