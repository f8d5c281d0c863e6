//! How long a recording is, as far as its first bytes tell: what a transcription may cost is reserved by that, and what it did
//! cost is what its upstream reports.

/// Bytes of a second of compressed speech, 64 kbit/s: most recordings have more and are shorter than estimated.
const BYTES_PER_SECOND: u64 = 8_000;

/// The estimated length of `file`, in milliseconds, at least 1.
pub(super) fn estimated_ms(file: &[u8]) -> u64 {
    let per_second = wav_bytes_per_second(file).unwrap_or(BYTES_PER_SECOND);
    (file.len() as u64).saturating_mul(1_000).div_ceil(per_second)
}

/// Bytes of a second of uncompressed audio, where the format comes first, as nearly always.
fn wav_bytes_per_second(file: &[u8]) -> Option<u64> {
    let is_wav = file.starts_with(b"RIFF") && file.get(8..16) == Some(b"WAVEfmt ");
    let rate: [u8; 4] = file.get(28..32).filter(|_| is_wav)?.try_into().ok()?;
    Some(u32::from_le_bytes(rate).into()).filter(|rate| *rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_recording_is_that_of_its_bytes() {
        // 16,000 samples a second of two bytes each.
        let header =
            [&b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0"[..], &16_000_u32.to_le_bytes(), &32_000_u32.to_le_bytes()];
        let wav = [header.concat(), vec![0; 64_000 - 32]].concat();
        assert_eq!(estimated_ms(&wav), 2_000);
        assert_eq!(estimated_ms(&[7; 16_000]), 2_000);
        assert_eq!(estimated_ms(b"x"), 1);
        let no_rate = [&b"RIFF\0\0\0\0WAVEfmt "[..], &[0; 100]].concat();
        assert_eq!(estimated_ms(&no_rate), 15);
    }
}
