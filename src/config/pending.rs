//! Stand-ins until `source::kafka::Config` and `notifier::Config` are merged; to be deleted then.

/// Stand-in for `crate::source::kafka`.
pub mod kafka {
    use crate::settings::Table;

    /// The `[source.kafka]` section.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Config {
        /// Where to find the cluster.
        pub brokers: Vec<String>,
        /// Settings that are handed to the client as they are.
        pub librdkafka: Vec<(String, String)>,
    }

    impl Config {
        /// Reads the section.
        pub fn read(mut table: Table<'_>) -> Option<Config> {
            let brokers = table.texts("brokers");
            if brokers.is_none() && !table.has("brokers") {
                table.missing("brokers", "[\"localhost:9092\"]");
            }
            let settings = table.table("librdkafka").map(|mut table| table.each_text()).unwrap_or_default();
            table.finish();
            let brokers = brokers?.value.into_iter().map(|broker| broker.value).collect();
            let librdkafka = settings.into_iter().map(|(key, value)| (key.value, value.value)).collect();
            Some(Config { brokers, librdkafka })
        }
    }
}

/// Stand-in for `crate::notifier`.
pub mod notifier {
    use crate::settings::{Placed, Table};

    /// One `[notifier.NAME.KIND]` section.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Config {
        /// The kind.
        pub kind: &'static str,
    }

    impl Config {
        /// Reads the section.
        pub fn read(name: &Placed<String>, mut table: Table<'_>) -> Option<Config> {
            let kinds: Vec<&'static str> =
                ["email", "webhook"].into_iter().filter(|kind| table.place(kind).is_some()).collect();
            match kinds.as_slice() {
                [kind] => {
                    table.finish();
                    Some(Config { kind })
                }
                _ => {
                    table.problem(name.span.clone(), "needs exactly one of `email` or `webhook`");
                    table.finish();
                    None
                }
            }
        }
    }
}
