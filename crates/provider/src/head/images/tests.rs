use crate::{Limits, Operation, Request};

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let digit = |bits: u32| char::from(DIGITS[bits as usize & 63]);
    let group = |three: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or_default()));
        let digits: String = (0..=three.len()).map(|at| digit(bits >> (18 - 6 * at))).collect();
        format!("{digits:=<4}")
    };
    bytes.chunks(3).map(group).collect()
}

fn png(width: u32, height: u32) -> Vec<u8> {
    [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &width.to_be_bytes(), &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat()
}

fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let preview = [&b"\xff\xd8\xff\xe1"[..], &5_002_u16.to_be_bytes(), &[0; 5_000]].concat();
    let frame = [&b"\xff\xff\xc2\0\x11\x08"[..], &height.to_be_bytes(), &width.to_be_bytes(), &[3, 0, 0]].concat();
    [preview, b"\xff\xdb\0\x04xx\xff\xc4\0\x03x".to_vec(), frame].concat()
}

/// A chat with a text and these images.
fn chat(urls: &[String]) -> Request {
    let part = |url: &String| format!(r#",{{"image_url":{{"detail":"high","url":"{url}"}},"type":"image_url"}}"#);
    let parts: String = urls.iter().map(part).collect();
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"text","text":"What is this?"}}{parts}]}}]}}"#
    );
    Request::parse(Operation::Chat, body.into(), Limits { max_messages: 9 }).expect("a chat")
}

/// Tokens of the image at this URL, beyond those of a chat without it.
fn tokens(url: &str) -> u64 {
    let (with, text) = (chat(&[url.to_owned()]), r#","type":"image_url","image_url":{"detail":"high","url":""}"#);
    with.estimated_prompt_tokens() - (chat(&[]).prompt_bytes() + text.len() + 2) as u64 / 4 - 1
}

fn data(kind: &str, file: &[u8]) -> String {
    format!("data:image/{kind};base64,{}", base64(file))
}

#[test]
fn an_image_counts_by_its_pixels_and_not_by_its_bytes() {
    let screenshot = (1920 * 1080_u64).div_ceil(784);
    let webp = |kind: &[u8], rest: &[u8]| [b"RIFF\0\0\0\0WEBP", kind, rest].concat();
    for (kind, file, expected) in [
        ("png", png(1920, 1080), screenshot),
        ("jpeg", jpeg(1920, 1080), screenshot),
        ("gif", b"GIF89a\x80\x07\x38\x04".to_vec(), screenshot),
        ("webp", webp(b"VP8 ", b"\0\0\0\0xxx\x9d\x01\x2a\x80\x07\x38\x04"), screenshot),
        // 1919 and 1079, in 14 bits each.
        (
            "webp",
            webp(b"VP8L", &[&b"\0\0\0\0\x2f"[..], &(1_919_u32 + (1_079 << 14)).to_le_bytes()].concat()),
            screenshot,
        ),
        ("webp", webp(b"VP8X", b"\0\0\0\0\0\0\0\0\x7f\x07\0\x37\x04\0"), screenshot),
        ("png", png(16, 16), 64),
        ("png", png(20_000, 20_000), 4_096),
        ("png", png(u32::MAX, u32::MAX), 4_096),
    ] {
        assert_eq!(tokens(&data(kind, &file)), expected, "{kind} {file:?}");
        let long = [file, vec![0; 3_000_000]].concat();
        assert_eq!(tokens(&data(kind, &long)), expected, "{kind}, three megabytes");
    }
}

#[test]
fn an_image_whose_size_is_not_shown_counts_as_a_usual_one() {
    let no_size = b"\xff\xd8\xff\xda\0\x04xxxx";
    for url in [
        "https://example.org/cat.png".to_owned(),
        format!("https://example.org/{}", "long/".repeat(10_000)),
        "data:image/png;base64,".to_owned(),
        "data:image/png;base64,!!!!".to_owned(),
        "data:image/svg+xml,<svg/>".to_owned(),
        data("png", &png(1920, 1080)[..20]),
        data("jpeg", no_size),
        data("jpeg", &b"\xff".repeat(300_000)),
        data("avif", &[0; 100]),
    ] {
        assert_eq!(tokens(&url), 1_024, "{}", &url[..40.min(url.len())]);
    }
}

#[test]
fn slashes_may_be_escaped() {
    let url = data("png", &[&png(1920, 1080)[..], &[0xff; 60]].concat());
    assert!(url.contains("//"));
    assert_eq!(tokens(&url.replace('/', "\\/")), tokens(&url));
}

#[test]
fn every_image_counts_and_the_text_beside_them_counts_in_full() {
    let icon = data("png", &png(16, 16));
    let one = chat(std::slice::from_ref(&icon)).estimated_prompt_tokens();
    let many = chat(&vec![icon; 40]).estimated_prompt_tokens();
    assert!(many >= one + 39 * 64 && many < one + 39 * 90, "{one} {many}");
    let words = "word ".repeat(20_000);
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"text","text":"{words}"}},{{"type":"input_image","image_url":"https://example.org/x"}},{{"type":"image_embeds","image_embeds":"x"}}]}}]}}"#
    );
    let request = Request::parse(Operation::Chat, body.into(), Limits { max_messages: 9 }).expect("a chat");
    assert!(request.estimated_prompt_tokens() > 25_000 + 2_048, "{}", request.estimated_prompt_tokens());
    assert!(request.estimated_prompt_tokens() < 25_000 + 2_048 + 100, "{}", request.estimated_prompt_tokens());
}
