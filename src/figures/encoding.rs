//! Pictures as PNG, and bytes as text for the inside of an SVG.

use super::colour_map::Picture;
use super::palette::Rgb;

/// A picture as PNG with a table of colours.
pub(super) fn picture_png(picture: &Picture) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let size = [picture.columns, picture.rows].map(|n| n as u32);
    let mut encoder = png::Encoder::new(&mut bytes, size[0], size[1]);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(picture.colours.as_flattened());
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&picture.indices)?;
    writer.finish()?;
    Ok(bytes)
}

/// Pixels as PNG.
pub(super) fn pixels_png(
    width: usize,
    height: usize,
    pixels: &[Rgb],
) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels.as_flattened())?;
    writer.finish()?;
    Ok(bytes)
}

/// Base64 (RFC 4648).
pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for i in 0..4 {
            if i <= chunk.len() {
                text.push(char::from(LETTERS[(bits >> (18 - 6 * i) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::colour_map::ColourMap;

    #[test]
    fn base64_matches_the_standards_examples() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_decoded_picture_has_the_colours_of_its_map() {
        let range = [-1.0, 1.0];
        let picture = Picture::new(&[-1.0, 1.0], 2, ColourMap::Diverging, range);
        let bytes = picture_png(&picture).expect("encodes");
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("small")];
        reader.next_frame(&mut pixels).expect("a frame");
        let expected = [-1.0, 1.0].map(|v| ColourMap::Diverging.colour(v, range));
        assert_eq!(pixels, expected.as_flattened());
    }
}
