//! JSON of the lines that are written for every request, as `serde_json` writes it but in less time: the names of fields hold
//! nothing to escape, and a text that holds nothing is copied as a whole.

use serde::{
    Serialize, Serializer,
    ser::{Impossible, SerializeMap, SerializeSeq, SerializeStruct},
};
use serde_json::Error;

/// Appends `value` to `line`. It is made of structs, maps with texts as keys, lists, options, texts, numbers and enums without data.
///
/// # Errors
/// What cannot be written so. A part of it may be appended then.
pub(crate) fn append(value: &impl Serialize, line: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(Json(line))
}

/// Writes one value.
struct Json<'a>(&'a mut Vec<u8>);

/// Writes the entries of a struct, a map or a list.
struct Entries<'a> {
    line: &'a mut Vec<u8>,
    has_some: bool,
    closing: u8,
}

impl<'a> Entries<'a> {
    fn open(line: &'a mut Vec<u8>, opening: u8, closing: u8) -> Self {
        line.push(opening);
        Self { line, has_some: false, closing }
    }

    fn separate(&mut self) {
        if self.has_some {
            self.line.push(b',');
        }
        self.has_some = true;
    }

    fn close(self) {
        self.line.push(self.closing);
    }
}

/// Whether a byte of `text` has to be escaped.
#[expect(clippy::needless_bitwise_bool, reason = "without a branch for each byte, many are looked at together")]
fn has_escapes(text: &str) -> bool {
    text.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == b'"') | (byte == b'\\'))
}

/// Leaves values without parts to `serde_json`.
macro_rules! plain {
    ($($name:ident: $kind:ty),*) => {
        $(fn $name(self, value: $kind) -> Result<(), Error> {
            serde_json::Serializer::new(self.0).$name(value)
        })*
    };
}

impl<'a> Serializer for Json<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Entries<'a>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Entries<'a>;
    type SerializeStructVariant = Impossible<(), Error>;

    plain! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_u8: u8,
        serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32, serialize_f64: f64, serialize_char: char,
        serialize_bytes: &[u8]
    }

    fn serialize_str(self, text: &str) -> Result<(), Error> {
        if has_escapes(text) {
            return serde_json::Serializer::new(self.0).serialize_str(text);
        }
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), Error> {
        Err(unsupported(name))
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Entries<'a>, Error> {
        Ok(Entries::open(self.0, b'[', b']'))
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple, Error> {
        Err(unsupported("a tuple"))
    }

    fn serialize_tuple_struct(self, name: &'static str, _len: usize) -> Result<Self::SerializeTupleStruct, Error> {
        Err(unsupported(name))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Err(unsupported(name))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Entries<'a>, Error> {
        Ok(Entries::open(self.0, b'{', b'}'))
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Entries<'a>, Error> {
        Ok(Entries::open(self.0, b'{', b'}'))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Err(unsupported(name))
    }
}

fn unsupported(what: &str) -> Error {
    serde::ser::Error::custom(format!("a line of JSON has no {what}"))
}

impl SerializeSeq for Entries<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.separate();
        value.serialize(Json(self.line))
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

impl SerializeStruct for Entries<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.separate();
        self.line.push(b'"');
        self.line.extend_from_slice(name.as_bytes());
        self.line.extend_from_slice(b"\":");
        value.serialize(Json(self.line))
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

/// A struct with flattened fields comes as a map.
impl SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.separate();
        let start = self.line.len();
        key.serialize(Json(self.line))?;
        if self.line.get(start) == Some(&b'"') { Ok(()) } else { Err(unsupported("key that is no text")) }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.line.push(b':');
        value.serialize(Json(self.line))
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Serialize)]
    enum Kind {
        Some,
    }

    #[derive(Debug, Serialize)]
    struct Inner {
        text: String,
        number: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
    }

    #[derive(Debug, Serialize)]
    struct Line {
        kind: Kind,
        signed: i32,
        is_so: bool,
        inner: Inner,
        list: Vec<Inner>,
        texts: Vec<String>,
        by_name: BTreeMap<String, u8>,
        #[serde(flatten)]
        flat: Flat,
    }

    #[derive(Debug, Serialize)]
    struct Flat {
        beside: &'static str,
        most: f32,
    }

    fn inner() -> impl Strategy<Value = Inner> {
        let texts = prop_oneof![".*", "[a-z ]{0,40}"];
        (texts, proptest::option::of(any::<f64>()), any::<Option<u64>>()).prop_map(|(text, number, count)| Inner {
            text,
            number,
            count,
        })
    }

    proptest! {
        #[test]
        fn a_line_is_what_serde_json_writes(
            inner in inner(), list in prop::collection::vec(inner(), 0..3), texts in prop::collection::vec(".{0,20}", 0..4),
            by_name in prop::collection::btree_map(".{0,9}", any::<u8>(), 0..3), signed: i32, is_so: bool, most: f32,
        ) {
            let flat = Flat { beside: "this", most };
            let line = Line { kind: Kind::Some, signed, is_so, inner, list, texts, by_name, flat };
            let mut bytes = b"before ".to_vec();
            append(&line, &mut bytes).expect("written");
            prop_assert_eq!(String::from_utf8_lossy(&bytes), format!("before {}", serde_json::to_string(&line).expect("written")));
        }
    }

    #[test]
    fn what_it_has_no_form_for_is_an_error() {
        assert!(append(&(1, 2), &mut Vec::new()).is_err());
        assert!(append(&std::net::IpAddr::from([127, 0, 0, 1]), &mut Vec::new()).is_ok(), "a text");
        assert!(append(&Result::<u8, u8>::Ok(1), &mut Vec::new()).is_err());
        assert!(append(&BTreeMap::from([(1, 2)]), &mut Vec::new()).is_err());
    }
}
