//! OpenBLAS, loaded while the program runs: whatever build the machine has, without linking.
#![expect(unsafe_code, reason = "a foreign library")]

use std::ffi::{CStr, c_char, c_float, c_int};

use libloading::Library;

/// Names by which Debian and others install the library.
const NAMES: [&str; 2] = ["libopenblas.so.0", "libopenblas.so"];
/// Prefixes of its functions: none, and that of the builds on PyPI.
const PREFIXES: [&str; 2] = ["", "scipy_"];

const ROW_MAJOR: c_int = 101;
const NOT_TRANSPOSED: c_int = 111;
const TRANSPOSED: c_int = 112;

type Sgemm = unsafe extern "C" fn(
    layout: c_int,
    transpose_a: c_int,
    transpose_b: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: c_float,
    a: *const c_float,
    lda: c_int,
    b: *const c_float,
    ldb: c_int,
    beta: c_float,
    c: *mut c_float,
    ldc: c_int,
);
type SetThreads = unsafe extern "C" fn(c_int);
type Text = unsafe extern "C" fn() -> *const c_char;

/// The functions of a loaded library.
pub struct OpenBlas {
    sgemm: Sgemm,
    set_threads: SetThreads,
    /// Version and build, and the processor whose kernels it runs.
    pub description: String,
    _library: Library,
}

/// A matrix operand: data, rows, columns, distance of rows, distance of columns.
pub type Operand = (*const f32, [usize; 2]);

impl OpenBlas {
    /// Loads the library that `DAWN21_OPENBLAS` names, else one that the system finds.
    pub fn load() -> Result<Self, String> {
        let named = std::env::var("DAWN21_OPENBLAS").ok();
        let names: Vec<&str> = match &named {
            Some(name) => vec![name],
            None => NAMES.to_vec(),
        };
        let library = names.iter().find_map(|name| {
            // SAFETY: OpenBLAS has no initialisers beyond starting its threads.
            unsafe { Library::new(*name) }.ok()
        });
        let library = library.ok_or_else(|| {
            format!(
                "no OpenBLAS was found under {names:?}: install one (README.md) or name its file in DAWN21_OPENBLAS"
            )
        })?;
        for prefix in PREFIXES {
            let name = |function: &str| format!("{prefix}{function}");
            // SAFETY: the types are those of OpenBLAS's cblas.h with 32-bit integers; builds with 64-bit
            // integers have other names. The functions live as long as `_library`.
            let functions = unsafe {
                (
                    library.get::<Sgemm>(name("cblas_sgemm")),
                    library.get::<SetThreads>(name("openblas_set_num_threads")),
                    library.get::<Text>(name("openblas_get_config")),
                    library.get::<Text>(name("openblas_get_corename")),
                )
            };
            let (Ok(sgemm), Ok(set_threads), Ok(config), Ok(core)) = functions else {
                continue;
            };
            // SAFETY: both return a static string that ends with 0.
            let [config, core] = [&config, &core]
                .map(|text| unsafe { CStr::from_ptr(text()).to_string_lossy().trim().to_owned() });
            return Ok(Self {
                sgemm: *sgemm,
                set_threads: *set_threads,
                description: format!("{config}, running the kernels for {core}"),
                _library: library,
            });
        }
        Err(format!("{names:?} is no OpenBLAS with 32-bit integers"))
    }

    /// Threads that each later product may use.
    pub fn set_threads(&self, threads: usize) {
        // SAFETY: any positive number is allowed.
        unsafe { (self.set_threads)(threads.max(1) as c_int) }
    }

    /// `output = left right + beta output`, with `[m, n, k]` and strides of rows and columns, of which one
    /// is 1 for the inputs and the column's for the output.
    ///
    /// # Safety
    /// All offsets lie within their allocations, and the output overlaps neither input.
    pub unsafe fn sgemm(
        &self,
        [m, n, k]: [usize; 3],
        (left, left_strides): Operand,
        (right, right_strides): Operand,
        beta: f32,
        output: *mut f32,
        row_stride: usize,
    ) {
        let order = |[row, column]: [usize; 2]| {
            if column == 1 {
                (NOT_TRANSPOSED, row as c_int)
            } else {
                (TRANSPOSED, column as c_int)
            }
        };
        let (transpose_a, lda) = order(left_strides);
        let (transpose_b, ldb) = order(right_strides);
        // SAFETY: handed on to the caller.
        unsafe {
            (self.sgemm)(
                ROW_MAJOR,
                transpose_a,
                transpose_b,
                m as c_int,
                n as c_int,
                k as c_int,
                1.0,
                left,
                lda,
                right,
                ldb,
                beta,
                output,
                row_stride as c_int,
            );
        }
    }
}
