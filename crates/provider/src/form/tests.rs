use proptest::prelude::*;

use super::*;

const TYPE: &str = "multipart/form-data; boundary=XyZ";

fn part(name: &str, more: &str, value: &[u8]) -> Vec<u8> {
    [format!("--XyZ\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n").as_bytes(), value, b"\r\n"]
        .concat()
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), b"--XyZ--\r\n".to_vec()].concat()
}

fn file(value: &[u8]) -> Vec<u8> {
    part("file", "; filename=\"a; name=model.mp3\"\r\nContent-Type: audio/mpeg", value)
}

fn parse(body: &[u8]) -> Result<(Head, Form), InvalidRequest> {
    Form::parse(body, TYPE)
}

#[test]
fn the_model_s_name_is_the_one_thing_that_changes() {
    let parts = [file(b"\r\n--Xy sound \xff\r\n"), part("model", "", b"whisper"), part("prompt", "", b"")];
    let body = form(&parts);
    let (head, form_) = parse(&body).expect("a form");
    assert_eq!((head.model.as_str(), head.stream), ("whisper", false));
    let sent = form_.with_model(&body, "openai/whisper-large-v3");
    assert_eq!(sent, form(&[parts[0].clone(), part("model", "", b"openai/whisper-large-v3"), parts[2].clone()]));
    assert_eq!(form_.content_type(), "multipart/form-data; boundary=\"XyZ\"");
}

#[test]
fn forms_are_read_as_libraries_write_them() {
    let body = form(&[file(b"x"), part("model", "", b"m")]);
    let read = |body: &[u8], content_type: &str| Form::parse(body, content_type).map(|(head, _)| head.model);
    for content_type in [
        "multipart/form-data; boundary=\"XyZ\"",
        "Multipart/Form-Data;BOUNDARY=XyZ",
        "multipart/form-data; charset=utf-8; boundary=XyZ",
    ] {
        assert_eq!(read(&body, content_type).as_deref(), Ok("m"), "{content_type}");
    }
    // As .NET writes forms, and as some write the first delimiter and nothing behind the last one.
    let text = "\n--XyZ\nContent-Type: text/plain; charset=utf-8\ncontent-disposition:form-data; name=model\n\nm\n--XyZ\n\
        Content-Disposition: form-data; name=file; filename=a.mp3; filename*=utf-8''a.mp3\n\nx\n--XyZ--";
    assert_eq!(read(text.replace('\n', "\r\n").as_bytes(), TYPE).as_deref(), Ok("m"));
}

/// A form for the model `cheap` with `odd` between its parts, for which some parsers read one for the model `dear`.
fn odd_form(odd: &str) -> Vec<u8> {
    form(&[part("model", "", b"cheap"), odd.replace('\n', "\r\n").into_bytes(), file(b"x")])
}

#[test]
fn a_form_that_parsers_read_differently_is_refused() {
    let odd = |headers: &str| format!("--XyZ\n{headers}\n\ndear\n");
    for headers in [
        "Content-Disposition: form-data; name=\"x\"; name=\"model\"",
        "Content-Disposition: form-data; name=\"model\"; name=\"x\"",
        "Content-Disposition: form-data; name=\"x\"\nContent-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"Model\"",
        "Content-Disposition: form-data; name=\"mo\\del\"",
        "Content-Disposition: form-data; name=\"x\"; filename=\"\\\"; name=\"model\"",
        "Content-Disposition: form-data; name=\"x\"; name*=utf-8''model",
        "Content-Disposition: form-data; name*0=mo; name*1=del",
        "Content-Disposition: form-data; name=<model>",
        "Content-Disposition: form-data; name='model'",
        "Content-Disposition: form-data; name=\" model\"",
        "Content-Disposition: form-data; name=\"model \"",
        "Content-Disposition: form-data; name=\"=?utf-8?q?model?=\"",
        "Content-Disposition: form-data; name=\"\"",
        "Content-Disposition: form-data",
        "Content-Disposition: attachment; name=\"x\"",
        "Content-Disposition: form-data; name=\"x\"\n ; name=\"model\"",
        "Content-Disposition: form-data; name=\"x\"\rContent-Disposition: form-data; name=\"model\"",
        "Content-Disposition : form-data; name=\"model\"",
        "Content-Type: text/plain",
        "no header\nContent-Disposition: form-data; name=\"x\"",
    ] {
        assert!(parse(&odd_form(&odd(headers))).is_err(), "{headers:?}");
    }
    let good = odd("Content-Disposition: form-data; name=\"x\"");
    assert_eq!(parse(&odd_form(&good)).expect("this part is good").0.model, "cheap");
    let model = "Content-Disposition: form-data; name=\"model\"";
    for part in [
        // Without headers; a delimiter for those who need no line end of two characters, or no line end, or allow blanks.
        "--XyZ\n\ndear\n".to_owned(),
        good.replace("\ndear", &format!("\ry\r--XyZ\r{model}")),
        good.replace("\ndear", &format!("\n--XyZ\n{model}\n\ndear")),
        good.replace("dear", &format!("y--XyZ\n{model}\n\ndear")),
        good.replace("dear", &format!("y\n--XyZ \n{model}\n\ndear")),
        good.replace("XyZ\n", "XyZ \n"),
    ] {
        assert!(parse(&odd_form(&part)).is_err(), "{part:?}");
    }
    let whole = odd_form(&good);
    for (before, behind) in [(&b"text\r\n"[..], &b""[..]), (b"\r\n\r\n", b""), (b"", b"text"), (b"", &whole)] {
        assert!(parse(&[before, &whole, behind].concat()).is_err(), "{}", String::from_utf8_lossy(before));
    }
    for content_type in [
        "multipart/form-data; boundary=XyZ; boundary=other",
        "multipart/form-data; boundary=XyZ; Boundary=\"other\"",
        "multipart/form-data; boundary=XyZ; boundary*=utf-8''other",
        "multipart/form-data; boundary=\"X\\yZ\"",
        "multipart/form-data; x=\"; boundary=XyZ; y=\"",
    ] {
        assert!(Form::parse(&whole, content_type).is_err(), "{content_type}");
    }
    for boundary in ["a;b", "a\u{e9}", "a*b", "a ", "a@b"] {
        let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
        let body = String::from_utf8(whole.clone()).expect("text").replace("XyZ", boundary);
        assert!(Form::parse(body.as_bytes(), &content_type).is_err(), "{boundary}");
    }
    let odd_and_allowed = "'()+_,-./:=? x";
    let body = String::from_utf8(whole).expect("text").replace("XyZ", odd_and_allowed);
    let (_, read) =
        Form::parse(body.as_bytes(), &format!("multipart/form-data; boundary=\"{odd_and_allowed}\"")).expect("a form");
    assert_eq!(read.content_type(), format!("multipart/form-data; boundary=\"{odd_and_allowed}\""));
}

#[test]
fn a_stream_is_asked_for_in_many_words_and_left_out_in_some() {
    let of = |value: &str| parse(&form(&[part("model", "", b"m"), file(b"x"), part("stream", "", value.as_bytes())]));
    for value in ["true", "True", "1", "yes", "on", "t", "Y", " true", "2", "null", "\u{e9}"] {
        let error = of(value).expect_err(value);
        assert_eq!(error.param.as_deref(), Some("stream"), "{value}");
    }
    for value in ["", "false", "False", "0", "no", "OFF", "f", "N"] {
        assert!(of(value).is_ok(), "{value}");
    }
}

#[test]
fn what_is_wrong_with_a_form_is_said() {
    let (model, many) = (part("model", "", b"m"), vec![part("x", "", b""); 257]);
    for (parts, param, says) in [
        (vec![file(b"x")], Some("model"), "'model' is required"),
        (vec![file(b"x"), part("model", "", b"")], Some("model"), "'model' is required"),
        (vec![file(b"x"), part("model", "", b"\xff")], Some("model"), "must be a name"),
        (vec![file(b"x"), part("model", "", &[b'm'; 1_025])], Some("model"), "must be a name"),
        (vec![file(b"x"), model.clone(), model.clone()], Some("model"), "appears twice"),
        (vec![file(b"x"), file(b"x"), model.clone()], Some("file"), "appears twice"),
        (vec![model.clone()], Some("file"), "'file' is required"),
        (vec![model.clone(), file(b"")], Some("file"), "'file' is required"),
        (vec![model.clone(), file(b"x"), part("stream", "", b"True")], Some("stream"), "leave it out"),
        (many, None, "more than 256 parts"),
    ] {
        let error = parse(&form(&parts)).expect_err(says);
        assert!(error.param.as_deref() == param && error.message.contains(says), "{error}");
    }
    let whole = form(&[file(b"x"), model]);
    for length in 0..whole.len() - 4 {
        assert!(parse(&whole[..length]).is_err(), "{length} bytes of it");
    }
    let long = part("x", &format!("; y={}", "z".repeat(9_000)), b"");
    assert!(parse(&form(&[long])).expect_err("long headers").message.contains("let the client's library"));
    for content_type in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=other"]
    {
        assert!(Form::parse(&whole, content_type).is_err(), "{content_type}");
    }
    assert!(Form::parse(&whole, &format!("multipart/form-data; boundary={}", "x".repeat(71))).is_err());
}

proptest! {
    #[test]
    fn any_form_is_read_back_and_any_bytes_are_no_panic(
        value in proptest::collection::vec(any::<u8>(), 1..200),
        model in "[a-z/.-]{1,20}",
        junk in proptest::collection::vec(prop_oneof![Just(b'-'), Just(b'\r'), Just(b'\n'), Just(b'X'), Just(b'"'), any::<u8>()], 0..60),
    ) {
        let body = form(&[part("model", "", model.as_bytes()), file(&value)]);
        // A boundary is chosen so that no value holds it.
        prop_assume!(memmem::find(&value, b"--XyZ").is_none());
        let (head, form_) = parse(&body).expect("a form");
        prop_assert_eq!(&head.model, &model);
        prop_assert_eq!(form_.with_model(&body, &model), body);
        let odd = [b"--XyZ".to_vec(), junk.clone(), b"\r\n--XyZ--".to_vec()].concat();
        drop((parse(&odd), parse(&junk)));
    }
}
