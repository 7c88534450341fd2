//! The JSON Schema of the configuration, from the types and their documentation.

use super::Config;
use super::endpoint::{EndpointConfig, Whole};
use super::protection::{FecConfig, PathFrom};
use super::units::{Bind, GroupPool, Percent, PortRange, Workers};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// How a duration is written.
pub(super) struct DurationText;
/// How a size is written.
pub(super) struct SizeText;

macro_rules! text_schema {
    ($($type:ty, $name:literal, $description:literal, [$($form:tt),*]);* $(;)?) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"description": $description, "anyOf": [$($form),*]})
            }
        }
    )*};
}

text_schema! {
    DurationText, "Duration", "A duration: a whole number and `us`, `ms`, `s`, `m` or `h`; at most a day.",
        [{"type": "string", "pattern": "^([0-9]+ *(us|ms|s|m|h)|0)$"}, {"const": 0}];
    SizeText, "Size", "A size: a whole number, and `B`, `KiB`, `MiB` or `GiB` if not bytes.",
        [{"type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB)?$"}, {"type": "integer", "minimum": 0}];
    PortRange, "PortRange", "A range of ports, or one: `30000-30999`.",
        [{"type": "string", "pattern": "^[0-9]+( *- *[0-9]+)?$"}, {"type": "integer", "minimum": 1, "maximum": 65535}];
    Bind, "Bind", "An address with a port, or `off`.", [{"type": "string"}];
    GroupPool, "GroupPool", "A range of multicast groups: `239.255.42.0/24`.", [{"type": "string"}];
    Percent, "Percent", "A share: `50%`.", [{"type": "string", "pattern": "^(100|[0-9]{1,2}) *%$"}];
    FecConfig, "Fec", "`auto`, `off`, or a share that is always sent: `20%`.",
        [{"enum": ["auto", "off"]}, {"type": "string", "pattern": "^(100|[0-9]{1,2}) *%$"}];
    PathFrom, "PathFrom", "An address of this machine, or the name of an interface.", [{"type": "string"}];
    Workers, "Workers", "`auto` or a number.",
        [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": 1024}];
}

impl JsonSchema for EndpointConfig {
    fn schema_name() -> Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let whole = generator.subschema_for::<Whole>();
        let description = "A server: its URL, or that with a weight and a zone.";
        json_schema!({"description": description, "anyOf": [{"type": "string"}, whole]})
    }
}

/// The JSON Schema (draft 2020-12) of the configuration file, as JSON.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Config);
    // A `Schema` is JSON already, so this cannot fail.
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}
