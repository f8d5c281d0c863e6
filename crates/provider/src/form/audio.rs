//! How long a recording is, as far as its first bytes tell: what a transcription may cost is reserved by that, and is what it did
//! cost where its upstream reports nothing. The client writes these bytes, so that only those count which decoders go by as well.

use std::ops::RangeInclusive;

/// Bytes of a second of compressed speech, 16 kbit/s. Most recordings have more and are shorter than estimated: an estimate that
/// is too high is better than one that a client can make too low.
const BYTES_PER_SECOND: u64 = 2_000;
/// Bytes of a second of uncompressed audio, up to 192,000 samples of four bytes on two channels.
const UNCOMPRESSED: RangeInclusive<u64> = 1_000..=1_536_000;
/// Formats whose samples have all one size: integers, floats, A-law and µ-law (RFC 2361).
const UNCOMPRESSED_FORMATS: [u16; 4] = [1, 3, 6, 7];
/// The format is told by the first two bytes of a longer field.
const EXTENSIBLE: u16 = 0xFFFE;

/// The estimated length of `file`, in milliseconds, at least 1.
pub(super) fn estimated_ms(file: &[u8]) -> u64 {
    let per_second = wav_bytes_per_second(file).unwrap_or(BYTES_PER_SECOND);
    (file.len() as u64).saturating_mul(1_000).div_ceil(per_second)
}

/// Bytes of a second of uncompressed audio, where the format comes first, as nearly always. Not read is the field that says as
/// much (28..32), which decoders ignore.
fn wav_bytes_per_second(file: &[u8]) -> Option<u64> {
    if !file.starts_with(b"RIFF") || file.get(8..16) != Some(b"WAVEfmt ") {
        return None;
    }
    let short = |at: usize| Some(u16::from_le_bytes(file.get(at..at + 2)?.try_into().ok()?));
    let format = short(20).filter(|format| *format != EXTENSIBLE).or_else(|| short(44))?;
    if !UNCOMPRESSED_FORMATS.contains(&format) {
        return None;
    }
    let samples = u64::from(u32::from_le_bytes(file.get(24..28)?.try_into().ok()?));
    let (channels, all_channels, bits) = (u64::from(short(22)?), u64::from(short(32)?), u64::from(short(34)?));
    // Two fields tell the size of a sample, and decoders differ in which one they go by.
    let bytes = (channels * bits.div_ceil(8)).min(all_channels);
    Some((samples * bytes).clamp(*UNCOMPRESSED.start(), *UNCOMPRESSED.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a header says.
    #[derive(Clone, Copy)]
    struct Says {
        format: u16,
        channels: u16,
        samples: u32,
        bytes_per_second: u32,
        all_channels: u16,
        bits: u16,
        /// The format that an extensible one is.
        of_extensible: u16,
    }

    /// 16,000 samples a second of two bytes each.
    const SPEECH: Says = Says {
        format: 1,
        channels: 1,
        samples: 16_000,
        bytes_per_second: 32_000,
        all_channels: 2,
        bits: 16,
        of_extensible: 0,
    };

    /// The milliseconds that a WAV of 64,000 bytes has by its header.
    fn of(says: Says) -> u64 {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x28\0\0\0".to_vec();
        file.extend([says.format.to_le_bytes(), says.channels.to_le_bytes()].concat());
        file.extend([says.samples.to_le_bytes(), says.bytes_per_second.to_le_bytes()].concat());
        file.extend([says.all_channels.to_le_bytes(), says.bits.to_le_bytes()].concat());
        file.resize(44, 0);
        file.extend(says.of_extensible.to_le_bytes());
        file.resize(64_000, 0);
        estimated_ms(&file)
    }

    #[test]
    fn the_length_of_a_recording_is_that_of_its_bytes() {
        assert_eq!(of(SPEECH), 2_000);
        assert_eq!(of(Says { channels: 2, all_channels: 4, ..SPEECH }), 1_000);
        assert_eq!(of(Says { format: EXTENSIBLE, of_extensible: 3, bits: 32, all_channels: 4, ..SPEECH }), 1_000);
        assert_eq!(of(Says { format: 7, samples: 8_000, bits: 8, all_channels: 1, ..SPEECH }), 8_000);
        assert_eq!(estimated_ms(&[7; 16_000]), 8_000);
        assert_eq!(estimated_ms(b"x"), 1);
    }

    #[test]
    fn a_header_that_lies_makes_no_recording_short() {
        let of_unknown_format = 32_000;
        for (says, expected) in [
            (Says { bytes_per_second: u32::MAX, ..SPEECH }, 2_000),
            (Says { bits: u16::MAX, ..SPEECH }, 2_000),
            (Says { all_channels: u16::MAX, ..SPEECH }, 2_000),
            (Says { samples: u32::MAX, channels: u16::MAX, bits: u16::MAX, all_channels: u16::MAX, ..SPEECH }, 42),
            (Says { samples: 0, ..SPEECH }, 64_000),
            // MPEG audio, whose samples have no size.
            (Says { format: 0x55, samples: 192_000, channels: 2, bits: 32, ..SPEECH }, of_unknown_format),
            (Says { format: EXTENSIBLE, of_extensible: 0x55, samples: 192_000, ..SPEECH }, of_unknown_format),
        ] {
            assert_eq!(of(says), expected, "{} {}", says.format, says.samples);
        }
        assert_eq!(estimated_ms(b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01"), 11, "a header that ends early");
    }
}
