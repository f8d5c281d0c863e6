//! Vectors of texts. They are drawn from a generator that the text seeds: equal texts have equal vectors, different
//! texts different ones, and nothing else about them means anything.

use std::fmt::Write;

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::Value;

use crate::reply::quote;

const USUAL_DIMENSIONS: usize = 384;
const MOST_DIMENSIONS: usize = 16_384;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What an embeddings request asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The seed of each input.
    seeds: Vec<u64>,
    dimensions: usize,
    is_base64: bool,
}

impl Wanted {
    pub(crate) fn read(body: &Value) -> Self {
        let dimensions = body["dimensions"].as_u64().and_then(|count| usize::try_from(count).ok());
        Self {
            seeds: inputs(&body["input"]).iter().map(|input| seed(input.to_string().as_bytes())).collect(),
            dimensions: dimensions.unwrap_or(USUAL_DIMENSIONS).clamp(1, MOST_DIMENSIONS),
            is_base64: body["encoding_format"] == "base64",
        }
    }

    /// The answer's body.
    pub(crate) fn render(&self, model: &str, prompt_tokens: u64, id: u64) -> String {
        let mut out = format!(
            "{{\"id\":\"embd-{id:016x}\",\"object\":\"list\",\"created\":0,\"model\":{},\"data\":[",
            quote(model)
        );
        for (index, seed) in self.seeds.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let vector = vector(*seed, self.dimensions);
            let vector = if self.is_base64 { base64(&vector) } else { array(&vector) };
            let _ = write!(out, "{comma}{{\"index\":{index},\"object\":\"embedding\",\"embedding\":{vector}}}");
        }
        let _ = write!(
            out,
            "],\"usage\":{{\"prompt_tokens\":{prompt_tokens},\"total_tokens\":{prompt_tokens},\"completion_tokens\":0,\"prompt_tokens_details\":null}}}}"
        );
        out
    }
}

/// A text, token numbers, or a list of either: one input each.
fn inputs(input: &Value) -> &[Value] {
    match input {
        Value::Array(items) if !items.first().is_some_and(Value::is_number) => items,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

/// FNV-1a.
fn seed(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A vector of unit length.
fn vector(seed: u64, dimensions: usize) -> Vec<f32> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut vector: Vec<f32> = (0..dimensions).map(|_| rng.random::<f32>() - 0.5).collect();
    let length = vector.iter().map(|part| part * part).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    for part in &mut vector {
        *part /= length;
    }
    vector
}

fn array(vector: &[f32]) -> String {
    let parts: Vec<String> = vector.iter().map(f32::to_string).collect();
    format!("[{}]", parts.join(","))
}

/// The parts as little-endian bytes, in base 64.
fn base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|part| part.to_le_bytes()).collect();
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4 + 2);
    out.push('"');
    for three in bytes.chunks(3) {
        let joined = (0..3).fold(0, |joined, at| joined << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            out.push(if at <= three.len() { char::from(BASE64[joined >> (18 - 6 * at) & 63]) } else { '=' });
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vectors(body: &Value) -> Vec<Value> {
        let answer: Value = serde_json::from_str(&Wanted::read(body).render("m", 9, 1)).unwrap();
        answer["data"].as_array().unwrap().iter().map(|entry| entry["embedding"].clone()).collect()
    }

    fn floats(vector: &Value) -> Vec<f32> {
        serde_json::from_value(vector.clone()).unwrap()
    }

    #[test]
    fn each_input_has_its_own_vector_of_unit_length() {
        let all = vectors(&json!({"input": ["a", "b", "a", [1, 2], [1, 2]]}));
        assert!(all.len() == 5 && all[0] == all[2] && all[3] == all[4] && all[0] != all[1] && all[0] != all[3]);
        for vector in &all {
            let vector = floats(vector);
            assert_eq!(vector.len(), 384);
            assert!((vector.iter().map(|part| part * part).sum::<f32>() - 1.0).abs() < 1e-4);
        }
        assert_eq!(vectors(&json!({"input": "a"})), all[..1]);
        assert_eq!(vectors(&json!({"input": [1, 2]})), all[3..4], "token numbers are one input");
        assert_eq!(floats(&vectors(&json!({"input": "a", "dimensions": 7}))[0]).len(), 7);
    }

    #[test]
    fn base64_holds_the_same_numbers() {
        for dimensions in [1, 2, 3, 384] {
            let plain = floats(&vectors(&json!({"input": "a", "dimensions": dimensions}))[0]);
            let packed = vectors(&json!({"input": "a", "dimensions": dimensions, "encoding_format": "base64"}));
            let text = packed[0].as_str().unwrap();
            assert_eq!(text.len() % 4, 0);
            let mut bits: Vec<u8> = Vec::new();
            for letter in text.trim_end_matches('=').bytes() {
                let six = BASE64.iter().position(|known| *known == letter).unwrap();
                bits.extend((0..6).rev().map(|at| u8::from(six >> at & 1 == 1)));
            }
            let bytes: Vec<u8> =
                bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | bit)).collect();
            let unpacked: Vec<f32> =
                bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
            assert_eq!(unpacked, plain);
        }
    }
}
