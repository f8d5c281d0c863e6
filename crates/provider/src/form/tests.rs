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
    part("file", "; filename=\"a; name=\\\"model\\\".mp3\"\r\nContent-Type: audio/mpeg", value)
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
    assert_eq!(form_.content_type(), TYPE);
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
    let text = |text: &str| text.replace('\n', "\r\n").into_bytes();
    for body in [
        text(
            "passed over\n--XyZ \ncontent-disposition: form-data; name=model\n\nm\n--XyZ\nX-Y: z\nContent-Disposition: form-data; filename=a.mp3; name=file\n\nx\n--XyZ--",
        ),
        text(
            "--XyZ\n\nnameless\n--XyZ\nContent-Disposition:form-data; name=\"model\"\n\nm\n--XyZ\nContent-Disposition: form-data; name=\"file\"\n\nx\n--XyZ--\nbehind",
        ),
    ] {
        assert_eq!(read(&body, TYPE).as_deref(), Ok("m"), "{}", String::from_utf8_lossy(&body));
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
        prop_assume!(memmem::find(&value, b"\r\n--XyZ").is_none());
        let (head, form_) = parse(&body).expect("a form");
        prop_assert_eq!(&head.model, &model);
        prop_assert_eq!(form_.with_model(&body, &model), body);
        let odd = [b"--XyZ".to_vec(), junk.clone(), b"\r\n--XyZ--".to_vec()].concat();
        drop((parse(&odd), parse(&junk)));
    }
}
