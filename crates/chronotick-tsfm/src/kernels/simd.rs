//! One vocabulary of vector arithmetic, and the instruction sets that speak it. A kernel is written once over [`Simd`]
//! and compiled for each; [`dispatch`] runs the widest one that this processor has.

use half::{bf16, f16};

/// Vectors of `f32`. A value of an implementing type is the proof that the processor has what its methods compile to:
/// it is made in [`dispatch`] alone, after asking the processor.
pub(super) trait Simd: Copy {
    type Vector: Copy;
    /// Numbers in a vector; a divisor of 16.
    const LANES: usize;
    /// Most rows of a tile, two vectors wide, whose sums stay in registers.
    const ROWS: usize;

    fn splat(self, x: f32) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a · b + c`.
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// To the nearest integer.
    fn round(self, a: Self::Vector) -> Self::Vector;
    /// `2ⁿ` of integers from -127 to 127, and 0 for -127.
    fn power_of_two(self, n: Self::Vector) -> Self::Vector;
    /// # Safety
    /// As many numbers as a vector has can be read from there. So for the other types.
    unsafe fn load(self, from: *const f32) -> Self::Vector;
    /// # Safety
    /// As for [`load`](Self::load).
    unsafe fn load_f16(self, from: *const f16) -> Self::Vector;
    /// # Safety
    /// As for [`load`](Self::load).
    unsafe fn load_bf16(self, from: *const bf16) -> Self::Vector;
    /// # Safety
    /// As for [`load`](Self::load).
    unsafe fn load_i8(self, from: *const i8) -> Self::Vector;
    /// # Safety
    /// As many numbers as a vector has can be written there.
    unsafe fn store(self, to: *mut f32, a: Self::Vector);
}

/// A computation that is written once for all instruction sets. `run` is always inlined: only so is it compiled with
/// the instructions of its caller.
pub(super) trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// The instruction sets, the narrowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Set {
    /// What this processor has, the best last.
    pub(super) fn available() -> Vec<Self> {
        let mut sets = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            sets.extend(avx2.then_some(Self::Avx2));
            let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            sets.extend((avx2 && avx512).then_some(Self::Avx512));
        }
        #[cfg(target_arch = "aarch64")]
        sets.extend(std::arch::is_aarch64_feature_detected!("neon").then_some(Self::Neon));
        sets
    }

    /// The one to use: the best, or the one that a test has forced upon its thread.
    fn chosen() -> Self {
        #[cfg(test)]
        if let Some(set) = FORCED.get() {
            return set;
        }
        static BEST: std::sync::LazyLock<Set> =
            std::sync::LazyLock::new(|| *Set::available().last().expect("one is always there"));
        *BEST
    }
}

#[cfg(test)]
thread_local! {
    static FORCED: std::cell::Cell<Option<Set>> = const { std::cell::Cell::new(None) };
}

/// Runs a test once for each instruction set that this processor has.
#[cfg(test)]
pub(super) fn with_each_set(mut test: impl FnMut(Set)) {
    for set in Set::available() {
        FORCED.set(Some(set));
        test(set);
    }
    FORCED.set(None);
}

/// Runs a kernel with the best instructions that this processor has.
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    match Set::chosen() {
        Set::Portable => kernel.run(portable::Portable),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `available` lists the set only where the processor has all that the function enables.
        Set::Avx2 => unsafe { x86::run_avx2(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Set::Avx512 => unsafe { x86::run_avx512(kernel) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Set::Neon => unsafe { neon::run_neon(kernel) },
    }
}

mod portable {
    use super::{Simd, bf16, f16};

    const N: usize = 8;

    /// Plain Rust, which every processor runs and the compiler vectorises where it can.
    #[derive(Clone, Copy)]
    pub(super) struct Portable;

    fn zip(a: [f32; N], b: [f32; N], f: impl Fn(f32, f32) -> f32) -> [f32; N] {
        std::array::from_fn(|i| f(a[i], b[i]))
    }

    impl Simd for Portable {
        type Vector = [f32; N];
        const LANES: usize = N;
        const ROWS: usize = 2;

        #[inline(always)]
        fn splat(self, x: f32) -> [f32; N] {
            [x; N]
        }
        #[inline(always)]
        fn add(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
            zip(a, b, |a, b| a + b)
        }
        #[inline(always)]
        fn sub(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
            zip(a, b, |a, b| a - b)
        }
        #[inline(always)]
        fn mul(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
            zip(a, b, |a, b| a * b)
        }
        #[inline(always)]
        fn div(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
            zip(a, b, |a, b| a / b)
        }
        #[inline(always)]
        fn max(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
            zip(a, b, |a, b| if a > b { a } else { b })
        }
        #[inline(always)]
        fn min(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
            zip(a, b, |a, b| if a < b { a } else { b })
        }
        #[inline(always)]
        fn fma(self, a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
            std::array::from_fn(|i| a[i] * b[i] + c[i])
        }
        #[inline(always)]
        fn round(self, a: [f32; N]) -> [f32; N] {
            a.map(f32::round_ties_even)
        }
        #[inline(always)]
        fn power_of_two(self, n: [f32; N]) -> [f32; N] {
            n.map(|n| f32::from_bits(((n as i32 + 127) as u32) << 23))
        }
        #[inline(always)]
        unsafe fn load(self, from: *const f32) -> [f32; N] {
            // SAFETY: by this function's contract.
            unsafe { from.cast::<[f32; N]>().read() }
        }
        #[inline(always)]
        unsafe fn load_f16(self, from: *const f16) -> [f32; N] {
            // SAFETY: by this function's contract.
            unsafe { from.cast::<[f16; N]>().read() }.map(f16::to_f32)
        }
        #[inline(always)]
        unsafe fn load_bf16(self, from: *const bf16) -> [f32; N] {
            // SAFETY: by this function's contract.
            unsafe { from.cast::<[bf16; N]>().read() }.map(|x| f32::from_bits(u32::from(x.to_bits()) << 16))
        }
        #[inline(always)]
        unsafe fn load_i8(self, from: *const i8) -> [f32; N] {
            // SAFETY: by this function's contract.
            unsafe { from.cast::<[i8; N]>().read() }.map(f32::from)
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32, a: [f32; N]) {
            // SAFETY: by this function's contract.
            unsafe { to.cast::<[f32; N]>().write(a) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Kernel, Simd, bf16, f16};

    #[derive(Clone, Copy)]
    pub(super) struct Avx2(());

    #[derive(Clone, Copy)]
    pub(super) struct Avx512(());

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx2(()))
    }

    #[target_feature(enable = "avx512f,avx512bw,avx2,fma,f16c")]
    pub(super) fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx512(()))
    }

    /// Methods of intrinsics.
    macro_rules! methods {
        ($vector:ty: $($name:ident($($arg:ident: $type:ty),*) = $body:expr;)*) => {
            $(#[inline(always)]
            fn $name(self, $($arg: $type),*) -> $vector {
                // SAFETY: a value of this type is made only where the processor has these instructions.
                unsafe { $body }
            })*
        };
    }

    /// Methods of intrinsics that read.
    macro_rules! loads {
        ($vector:ty: $($name:ident($from:ident: $pointer:ty) = $body:expr;)*) => {
            $(#[inline(always)]
            unsafe fn $name(self, $from: $pointer) -> $vector {
                // SAFETY: as in `methods`; and the pointer is good by this function's contract.
                unsafe { $body }
            })*
        };
    }

    impl Simd for Avx2 {
        type Vector = __m256;
        const LANES: usize = 8;
        const ROWS: usize = 6;

        methods! { __m256:
            splat(x: f32) = _mm256_set1_ps(x);
            add(a: __m256, b: __m256) = _mm256_add_ps(a, b);
            sub(a: __m256, b: __m256) = _mm256_sub_ps(a, b);
            mul(a: __m256, b: __m256) = _mm256_mul_ps(a, b);
            div(a: __m256, b: __m256) = _mm256_div_ps(a, b);
            max(a: __m256, b: __m256) = _mm256_max_ps(a, b);
            min(a: __m256, b: __m256) = _mm256_min_ps(a, b);
            fma(a: __m256, b: __m256, c: __m256) = _mm256_fmadd_ps(a, b, c);
            round(a: __m256) = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
            power_of_two(n: __m256) = {
                let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
            };
        }

        loads! { __m256:
            load(from: *const f32) = _mm256_loadu_ps(from);
            load_f16(from: *const f16) = _mm256_cvtph_ps(_mm_loadu_si128(from.cast()));
            load_bf16(from: *const bf16) = {
                let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
            };
            load_i8(from: *const i8) =
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast())));
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32, a: __m256) {
            // SAFETY: as in `methods`.
            unsafe { _mm256_storeu_ps(to, a) }
        }
    }

    impl Simd for Avx512 {
        type Vector = __m512;
        const LANES: usize = 16;
        const ROWS: usize = 12;

        methods! { __m512:
            splat(x: f32) = _mm512_set1_ps(x);
            add(a: __m512, b: __m512) = _mm512_add_ps(a, b);
            sub(a: __m512, b: __m512) = _mm512_sub_ps(a, b);
            mul(a: __m512, b: __m512) = _mm512_mul_ps(a, b);
            div(a: __m512, b: __m512) = _mm512_div_ps(a, b);
            max(a: __m512, b: __m512) = _mm512_max_ps(a, b);
            min(a: __m512, b: __m512) = _mm512_min_ps(a, b);
            fma(a: __m512, b: __m512, c: __m512) = _mm512_fmadd_ps(a, b, c);
            round(a: __m512) = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
            power_of_two(n: __m512) = {
                let biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
                _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
            };
        }

        loads! { __m512:
            load(from: *const f32) = _mm512_loadu_ps(from);
            load_f16(from: *const f16) = _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()));
            load_bf16(from: *const bf16) = {
                let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
            };
            load_i8(from: *const i8) =
                _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())));
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32, a: __m512) {
            // SAFETY: as in `methods`.
            unsafe { _mm512_storeu_ps(to, a) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::{Kernel, Simd, bf16, f16};

    /// Pairs of NEON's vectors, so that a tile has as many columns as on other processors.
    #[derive(Clone, Copy)]
    pub(super) struct Neon(());

    type Pair = [float32x4_t; 2];

    #[target_feature(enable = "neon")]
    pub(super) fn run_neon<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Neon(()))
    }

    /// A method that does the same to both halves.
    macro_rules! both {
        ($($name:ident($($arg:ident),*) = $body:expr;)*) => {
            $(#[inline(always)]
            fn $name(self, $($arg: Pair),*) -> Pair {
                // SAFETY: a value of this type is made only where the processor has these instructions.
                [0, 1].map(|i| unsafe { $(let $arg = $arg[i];)* $body })
            })*
        };
    }

    /// Both halves of eight 16-bit numbers, widened.
    #[inline(always)]
    unsafe fn widen(from: *const u16) -> [uint32x4_t; 2] {
        // SAFETY: eight numbers can be read, and the processor has NEON, by the callers' contract.
        unsafe {
            let all = vld1q_u16(from);
            [vmovl_u16(vget_low_u16(all)), vmovl_u16(vget_high_u16(all))]
        }
    }

    impl Simd for Neon {
        type Vector = Pair;
        const LANES: usize = 8;
        const ROWS: usize = 6;

        both! {
            add(a, b) = vaddq_f32(a, b);
            sub(a, b) = vsubq_f32(a, b);
            mul(a, b) = vmulq_f32(a, b);
            div(a, b) = vdivq_f32(a, b);
            max(a, b) = vmaxq_f32(a, b);
            min(a, b) = vminq_f32(a, b);
            fma(a, b, c) = vfmaq_f32(c, a, b);
            round(a) = vrndnq_f32(a);
            power_of_two(n) = {
                let biased = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
                vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
            };
        }

        #[inline(always)]
        fn splat(self, x: f32) -> Pair {
            // SAFETY: as in `both`.
            [unsafe { vdupq_n_f32(x) }; 2]
        }
        #[inline(always)]
        unsafe fn load(self, from: *const f32) -> Pair {
            // SAFETY: as in `both`; and the pointer is good by this function's contract.
            unsafe { [vld1q_f32(from), vld1q_f32(from.add(4))] }
        }
        /// Exponent and fraction move to their places in an `f32`, whose exponent is then too small by 112.
        #[inline(always)]
        unsafe fn load_f16(self, from: *const f16) -> Pair {
            // SAFETY: as above.
            unsafe {
                widen(from.cast()).map(|x| {
                    let magnitude = vshlq_n_u32::<13>(vandq_u32(x, vdupq_n_u32(0x7fff)));
                    let sign = vshlq_n_u32::<16>(vandq_u32(x, vdupq_n_u32(0x8000)));
                    let scaled = vmulq_n_f32(vreinterpretq_f32_u32(magnitude), f32::from_bits(239 << 23));
                    vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(scaled), sign))
                })
            }
        }
        #[inline(always)]
        unsafe fn load_bf16(self, from: *const bf16) -> Pair {
            // SAFETY: as above.
            unsafe { widen(from.cast()).map(|x| vreinterpretq_f32_u32(vshlq_n_u32::<16>(x))) }
        }
        #[inline(always)]
        unsafe fn load_i8(self, from: *const i8) -> Pair {
            // SAFETY: as above.
            unsafe {
                let all = vmovl_s8(vld1_s8(from));
                [vmovl_s16(vget_low_s16(all)), vmovl_s16(vget_high_s16(all))].map(|x| vcvtq_f32_s32(x))
            }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32, a: Pair) {
            // SAFETY: as above, for writing.
            unsafe {
                vst1q_f32(to, a[0]);
                vst1q_f32(to.add(4), a[1]);
            }
        }
    }
}
