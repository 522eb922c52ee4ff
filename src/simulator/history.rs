//! Box averages by redshift, kept beside every light-cone.

use std::io::{self, Write};

/// Box averages at one snapshot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistoryRow {
    /// Redshift.
    pub redshift: f64,
    /// Mean brightness temperature in mK.
    pub brightness_temperature_mk: f64,
    /// Mean fraction of neutral hydrogen.
    pub neutral_fraction: f64,
    /// Mean spin temperature in K.
    pub spin_temperature_k: f64,
    /// Mean gas temperature outside ionised bubbles in K.
    pub gas_temperature_k: f64,
    /// Mean electron fraction outside ionised bubbles.
    pub electron_fraction: f64,
}

/// The columns of a history file.
pub const HISTORY_HEADER: &str = "z,T_b_mK,x_HI,T_S_K,T_K_K,x_e";

/// Writes a history as csv, highest redshift first.
///
/// # Errors
/// Those of the writer.
pub fn write_history(rows: &[HistoryRow], writer: &mut impl Write) -> io::Result<()> {
    writeln!(writer, "{HISTORY_HEADER}")?;
    for row in rows {
        writeln!(
            writer,
            "{:.6},{:.6},{:.7},{:.5},{:.5},{:.7e}",
            row.redshift,
            row.brightness_temperature_mk,
            row.neutral_fraction,
            row.spin_temperature_k,
            row.gas_temperature_k,
            row.electron_fraction
        )?;
    }
    Ok(())
}

/// A history file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The first line is not the header.
    #[error("line 1: expected `{HISTORY_HEADER}`, found `{found}`")]
    Header {
        /// The first line.
        found: String,
    },
    /// A line is not six numbers.
    #[error("line {line}: expected six numbers, found `{found}`")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// The line.
        found: String,
    },
}

/// Reads what [`write_history`] wrote.
///
/// # Errors
/// [`HistoryError`] names the line.
pub fn parse_history(text: &str) -> Result<Vec<HistoryRow>, HistoryError> {
    let mut lines = text.lines().enumerate();
    let (_, header) = lines.next().unwrap_or((0, ""));
    if header != HISTORY_HEADER {
        return Err(HistoryError::Header {
            found: header.to_string(),
        });
    }
    lines
        .map(|(index, line)| {
            let numbers: Vec<f64> = line
                .split(',')
                .filter_map(|field| field.parse().ok())
                .collect();
            if let [z, tb, neutral, spin, gas, electrons] = numbers[..] {
                Ok(HistoryRow {
                    redshift: z,
                    brightness_temperature_mk: tb,
                    neutral_fraction: neutral,
                    spin_temperature_k: spin,
                    gas_temperature_k: gas,
                    electron_fraction: electrons,
                })
            } else {
                Err(HistoryError::Line {
                    line: index + 1,
                    found: line.to_string(),
                })
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_survives_writing_and_reading() {
        let row = HistoryRow {
            redshift: 10.038_295,
            brightness_temperature_mk: -123.456_789,
            neutral_fraction: 0.876_543_2,
            spin_temperature_k: 12.345_67,
            gas_temperature_k: 9.876_54,
            electron_fraction: 2.055_439_7e-4,
        };
        let mut file = Vec::new();
        write_history(&[row, row], &mut file).expect("memory never fails");
        let text = String::from_utf8(file).expect("ASCII");
        assert_eq!(parse_history(&text), Ok(vec![row, row]));
        let broken = text.replace("9.87654", "warm");
        assert!(matches!(
            parse_history(&broken),
            Err(HistoryError::Line { line: 2, .. })
        ));
    }
}
