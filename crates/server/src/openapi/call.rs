//! The parts of which each call is described.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ComponentsBuilder, Content, ContentBuilder, Header, HeaderBuilder, HttpMethod, InfoBuilder, License,
        ObjectBuilder, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr, Required, ResponseBuilder, Schema,
        Type,
        example::{Example, ExampleBuilder},
        path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use super::errors;
use crate::{
    api::dialect::Dialect,
    error::{ApiError, ErrorReply},
};

/// Examples by name.
pub(super) type Examples = Vec<(String, Value)>;

/// An example.
pub(super) fn example(name: &str, value: Value) -> (String, Value) {
    (name.to_owned(), value)
}

/// A document in the making.
pub(super) struct Document {
    paths: PathsBuilder,
    schemas: BTreeMap<String, RefOr<Schema>>,
    key: &'static str,
}

impl Document {
    /// A document whose calls need `key` unless they say otherwise.
    pub(super) fn new(key: &'static str) -> Self {
        let mut document = Self { paths: PathsBuilder::new(), schemas: BTreeMap::new(), key };
        document.schema::<ErrorReply<'_>>();
        document
    }

    /// Takes a type in; what refers to it.
    pub(super) fn schema<T: ToSchema>(&mut self) -> Ref {
        let mut found = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut found);
        self.schemas.extend(found);
        Ref::from_schema_name(T::name())
    }

    /// Takes a call in.
    pub(super) fn add(&mut self, method: HttpMethod, path: &str, call: Call) {
        let paths = std::mem::take(&mut self.paths);
        self.paths = paths.path(path, PathItem::new(method, call.0));
    }

    pub(super) fn finish(self, title: &str, about: &str, key: &str) -> OpenApi {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some(key.to_owned());
        let components = ComponentsBuilder::new()
            .schemas_from_iter(self.schemas)
            .security_scheme(self.key, SecurityScheme::Http(scheme))
            .build();
        let mut license = License::new("Apache-2.0");
        license.identifier = Some("Apache-2.0".to_owned());
        let info = InfoBuilder::new()
            .title(title)
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(about))
            .license(Some(license))
            .build();
        OpenApiBuilder::new()
            .info(info)
            .paths(self.paths)
            .components(Some(components))
            .security(Some([SecurityRequirement::new(self.key, [] as [&str; 0])]))
            .build()
    }
}

/// A call in the making.
pub(super) struct Call(OperationBuilder);

impl Call {
    pub(super) fn new(id: &str, summary: &str, about: &str) -> Self {
        Self(OperationBuilder::new().operation_id(Some(id)).summary(Some(summary)).description(Some(about)))
    }

    /// Needs no key.
    pub(super) fn open(self) -> Self {
        Self(self.0.securities(Some([] as [SecurityRequirement; 0])))
    }

    /// Takes a header that may be left out.
    pub(super) fn header(self, name: &str, about: &str, example: &str) -> Self {
        Self(self.0.parameter(parameter(ParameterIn::Header, name, about, example).required(Required::False)))
    }

    /// The same for a header that is no mere text.
    pub(super) fn header_of(self, name: &str, about: &str, schema: ObjectBuilder, example: Value) -> Self {
        let parameter = parameter(ParameterIn::Header, name, about, "").schema(Some(schema)).example(Some(example));
        Self(self.0.parameter(parameter.required(Required::False)))
    }

    /// Takes a part of the query that may be left out.
    pub(super) fn query(self, name: &str, about: &str, example: &str) -> Self {
        Self(self.0.parameter(parameter(ParameterIn::Query, name, about, example).required(Required::False)))
    }

    /// The same for a whole number from 1 to `most`.
    pub(super) fn query_number(self, name: &str, about: &str, most: usize, example: usize) -> Self {
        let number = number(most);
        let parameter =
            parameter(ParameterIn::Query, name, about, "").schema(Some(number)).example(Some(json!(example)));
        Self(self.0.parameter(parameter.required(Required::False)))
    }

    /// Takes a part of the path.
    pub(super) fn segment(self, name: &str, about: &str, example: &str) -> Self {
        Self(self.0.parameter(parameter(ParameterIn::Path, name, about, example).required(Required::True)))
    }

    /// Takes a JSON body.
    pub(super) fn body(self, schema: Ref, examples: Examples) -> Self {
        let body = RequestBodyBuilder::new().content("application/json", content(schema, examples));
        Self(self.0.request_body(Some(body.required(Some(Required::True)).build())))
    }

    /// Takes a form for a body.
    pub(super) fn form(self, schema: Ref) -> Self {
        let body = RequestBodyBuilder::new().content("multipart/form-data", content(schema, Examples::new()));
        Self(self.0.request_body(Some(body.required(Some(Required::True)).build())))
    }

    pub(super) fn answer(self, status: u16, response: ResponseBuilder) -> Self {
        Self(self.0.response(status.to_string(), response))
    }

    /// Every error that can come, by its status; each also has these headers.
    pub(super) fn errors(self, errors: impl IntoIterator<Item = ApiError>, headers: &[&'static str]) -> Self {
        self.errors_in(Dialect::OpenAi, errors, headers)
    }

    /// The same in another shape.
    pub(super) fn errors_in(
        self,
        dialect: Dialect,
        errors: impl IntoIterator<Item = ApiError>,
        headers: &[&'static str],
    ) -> Self {
        errors::responses(dialect, errors, headers)
            .into_iter()
            .fold(self, |call, (status, response)| call.answer(status, response))
    }
}

/// A whole number from 1 to `most`.
pub(super) fn number(most: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(most))
}

/// One of these words.
pub(super) fn one_of(words: &[&str]) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied()))
}

/// A text of this form.
pub(super) fn matching(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern))
}

fn parameter(place: ParameterIn, name: &str, about: &str, example: &str) -> ParameterBuilder {
    Parameter::builder()
        .name(name)
        .parameter_in(place)
        .description(Some(about))
        .schema(Some(String::schema()))
        .example(Some(json!(example)))
}

/// A body of one kind.
pub(super) fn content(schema: impl Into<RefOr<Schema>>, examples: Examples) -> Content {
    let examples = examples.into_iter().map(|(name, value)| -> (_, RefOr<Example>) {
        (name, ExampleBuilder::new().value(Some(value)).build().into())
    });
    ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build()
}

/// An answer with headers.
pub(super) fn response(about: impl Into<String>, headers: &[&'static str]) -> ResponseBuilder {
    let response = ResponseBuilder::new().description(about);
    headers.iter().fold(response, |response, name| response.header(*name, header(name)))
}

/// A text that is no JSON.
pub(super) fn text(sample: &str) -> Content {
    ContentBuilder::new().schema(Some(String::schema())).example(Some(json!(sample))).build()
}

/// Events or lines: OpenAPI 3.1 has no schema for each of them, only for all of them as one text.
pub(super) fn pieces(sample: &str) -> Content {
    ContentBuilder::new().example(Some(json!(sample))).build()
}

fn header(name: &str) -> Header {
    let about = match name {
        "x-request-id" => "the request's id, also in the access log",
        "x-llm-router-provider" => "who served it: `runpod`, `cerebras` or `openai`",
        "x-llm-router-upstream" => "the id of the configured upstream that served it",
        "x-llm-router-attempts" => {
            "calls that were made for this request; with an ensemble those that ended, of all members and judges"
        }
        "x-llm-router-reason" => {
            "why this upstream: `share`, `spill`, `stay`, `hold`, `cheapest`, `fastest`, `fallback`, `direct`, `hedge`"
        }
        "x-llm-router-cost-usd" => {
            "list price in US dollars; absent where price or usage is unknown, as it is for a stream that has just begun"
        }
        "x-llm-router-dropped-params" => "fields that the upstream would have refused; absent if there were none",
        "x-llm-router-injected-params" => "what was added, such as `max_tokens=4096`; absent if nothing was",
        "x-ratelimit-limit-requests" | "anthropic-ratelimit-requests-limit" => {
            "calls a minute, for keys with such a limit"
        }
        "x-ratelimit-remaining-requests" | "anthropic-ratelimit-requests-remaining" => {
            "calls that could be made at once now, for keys with such a limit"
        }
        "x-ratelimit-reset-requests" => "time until the whole burst is there again, for keys with such a limit",
        "request-id" => "the same by Anthropic's name",
        "anthropic-ratelimit-requests-reset" => {
            "when the whole burst is there again (RFC 3339), for keys with such a limit"
        }
        "x-should-retry" => "`false`: the router has retried already",
        "retry-after" => "seconds to wait, 1 to 120",
        _ => "",
    };
    HeaderBuilder::new().schema(Some(String::schema())).description(Some(about)).build()
}
