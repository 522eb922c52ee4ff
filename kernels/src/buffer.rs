//! Large scratch memory: aligned to pages, in huge pages where the system has them, kept between calls.
//!
//! The transforms walk through megabytes with strides of kilobytes; with pages of 4 KiB every step
//! would need another translation.

use bytemuck::Pod;
use memmap2::MmapMut;

use crate::ShapeError;

/// Growing, page-aligned memory that is never given back before it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    memory: Option<MmapMut>,
}

impl Buffer {
    /// Makes room for `len` values of type `T`.
    pub(crate) fn reserve<T: Pod>(&mut self, len: usize) -> Result<(), ShapeError> {
        let bytes = (len * size_of::<T>()).max(1);
        if self.memory.as_ref().is_none_or(|m| m.len() < bytes) {
            let memory = MmapMut::map_anon(bytes).map_err(|error| ShapeError::Dimension {
                operation: "scratch",
                detail: format!("{bytes} bytes of memory: {error}"),
            })?;
            // Only advice: without huge pages everything works, somewhat slower.
            #[cfg(target_os = "linux")]
            let _ = memory.advise(memmap2::Advice::HugePage);
            self.memory = Some(memory);
        }
        Ok(())
    }

    /// The first `len` values; content is whatever was there.
    ///
    /// # Panics
    /// When less was reserved.
    pub(crate) fn slice<T: Pod>(&mut self, len: usize) -> &mut [T] {
        let bytes = len * size_of::<T>();
        let memory = self.memory.as_deref_mut().unwrap_or_default();
        bytemuck::cast_slice_mut(&mut memory[..bytes])
    }

    /// As [`Self::slice`], to read.
    ///
    /// # Panics
    /// When less was reserved.
    pub(crate) fn as_slice<T: Pod>(&self, len: usize) -> &[T] {
        let bytes = len * size_of::<T>();
        let memory = self.memory.as_deref().unwrap_or_default();
        bytemuck::cast_slice(&memory[..bytes])
    }

    /// Overwrites everything with NaN, so that tests see reads of what was not written.
    pub(crate) fn poison(&mut self) {
        if let Some(memory) = &mut self.memory {
            memory.fill(0xff);
        }
    }
}
