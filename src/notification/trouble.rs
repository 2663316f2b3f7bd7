//! What is wrong with the watching itself, so that its numbers cannot be trusted or nobody would be told: kinds, words.
//!
//! A trouble is told like an alert, but concerns no model's quality: the source lost records, the state is damaged, a
//! stranger reads in our name. Each notice says what happened, where, since when, what that means for the numbers, and
//! what to do.

use crate::clock::Timestamp;

/// Something that is wrong, at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What kind of thing.
    pub kind: TroubleKind,
    /// Where: `topic/partition`, a topic, a file, a broker. With the kind it tells one trouble from another.
    pub place: String,
    /// What happened there, with its numbers, as a sentence without an end.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
    /// The span of time of which something is missing, if it is known.
    pub span: Option<(Timestamp, Timestamp)>,
}

/// A trouble that is due to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// The trouble.
    pub trouble: Trouble,
    /// How often it came since it was last told.
    pub meanwhile: u64,
}

/// The kinds of trouble. The name is a label of the metric, and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TroubleKind {
    /// Retention deleted records before they were read.
    RecordsLost,
    /// A partition ends before what was read: it lost its tail.
    PartitionCutBack,
    /// A topic was deleted and made anew.
    TopicRecreated,
    /// A topic or partition is no longer there.
    TopicVanished,
    /// Somebody else is active in our consumer group.
    ForeignConsumer,
    /// The Kafka client stood still or failed, and was made anew.
    ClientRenewed,
    /// No broker answers.
    BrokerUnreachable,
    /// The state file was damaged and set aside.
    StateDamaged,
    /// The state cannot be saved.
    StateNotSaved,
    /// The snapshot of the join was damaged or missing.
    SnapshotDamaged,
    /// The join could not be rebuilt whole.
    JoinIncomplete,
}

/// What is said of a kind.
struct Words {
    name: &'static str,
    headline: &'static str,
    meaning: &'static str,
    remedy: &'static str,
}

impl TroubleKind {
    /// Every kind.
    pub const ALL: [TroubleKind; 11] = [
        TroubleKind::RecordsLost,
        TroubleKind::PartitionCutBack,
        TroubleKind::TopicRecreated,
        TroubleKind::TopicVanished,
        TroubleKind::ForeignConsumer,
        TroubleKind::ClientRenewed,
        TroubleKind::BrokerUnreachable,
        TroubleKind::StateDamaged,
        TroubleKind::StateNotSaved,
        TroubleKind::SnapshotDamaged,
        TroubleKind::JoinIncomplete,
    ];

    /// Its name in metrics, payloads and the state file; one of a fixed set.
    pub fn name(self) -> &'static str {
        self.words().name
    }

    /// The kind of that name.
    pub fn by_name(name: &str) -> Option<TroubleKind> {
        TroubleKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// In a few words, for subjects and headlines.
    pub fn headline(self) -> &'static str {
        self.words().headline
    }

    /// What it means for the numbers.
    pub fn meaning(self) -> &'static str {
        self.words().meaning
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        self.words().remedy
    }

    fn words(self) -> Words {
        let (name, headline, meaning, remedy) = match self {
            TroubleKind::RecordsLost => (
                "records_lost",
                "Records were deleted before they were read",
                "What they said is in no indicator; labels of lost predictions are counted as orphans.",
                "Find out why modelwatch was behind or down for longer than the topic's retention; keep records longer.",
            ),
            TroubleKind::PartitionCutBack => (
                "partition_cut_back",
                "A partition lost records that were already read",
                "What was counted stays counted; if the records are written again, their ids are told as duplicates.",
                "Look for an unclean leader election or a restored broker.",
            ),
            TroubleKind::TopicRecreated => (
                "topic_recreated",
                "A topic was deleted and made anew",
                "Records of the former topic that were not read yet are lost. The new one is read from its beginning.",
                "Make sure that it was meant to be; no action is needed for modelwatch to go on.",
            ),
            TroubleKind::TopicVanished => (
                "topic_vanished",
                "A topic or partition is no longer there",
                "Nothing comes from it, and time goes on without it. Rules with `no_data_after` will tell which models lack data.",
                "Bring it back, or take it out of the configuration. It is read again as soon as it is there.",
            ),
            TroubleKind::ForeignConsumer => (
                "foreign_consumer",
                "Somebody else uses our consumer group",
                "The indicators are right: positions are kept in the state file. The lag that others see of the group is wrong.",
                "Give every instance and every other consumer a `group_id` of its own.",
            ),
            TroubleKind::ClientRenewed => (
                "client_renewed",
                "The Kafka client was made anew",
                "Nothing is lost or counted twice; reading goes on where it was. Notices came later than usual.",
                "If it comes again: look at the brokers and the network, and report it with the log.",
            ),
            TroubleKind::BrokerUnreachable => (
                "broker_unreachable",
                "No Kafka broker answers",
                "Nothing is read: no alert can fire or resolve until it is back. Nothing is lost within the topics' retention.",
                "Look at the brokers, the network, and the credentials of modelwatch.",
            ),
            TroubleKind::StateDamaged => (
                "state_damaged",
                "The state file was damaged and set aside",
                "Everything is computed anew from the topics, as far as they reach back. Incidents that last are told again; the ends of those that were open are not told.",
                "Look at the disk. The file that was set aside can be read with `sqlite3`: its `outbox` has what was still owed.",
            ),
            TroubleKind::StateNotSaved => (
                "state_not_saved",
                "The state cannot be saved",
                "Indicators go on in memory, but no alert is told until it can be saved; after a crash, reading repeats from the last checkpoint.",
                "Make room on the disk, or give the state directory back its permissions.",
            ),
            TroubleKind::SnapshotDamaged => (
                "snapshot_damaged",
                "The snapshot of the join is damaged or missing",
                "The join is rebuilt from the topics as far as they reach back; that takes longer than usual.",
                "Look at the disk. No action is needed for modelwatch to go on.",
            ),
            TroubleKind::JoinIncomplete => (
                "join_incomplete",
                "The join could not be rebuilt whole",
                "Labels of the predictions that are missing are counted as orphans, so the indicators rest on fewer samples.",
                "Keep records longer than the longest `label_timeout`.",
            ),
        };
        Words { name, headline, meaning, remedy }
    }
}

impl Trouble {
    fn new(kind: TroubleKind, place: impl Into<String>, what: String, since: Timestamp) -> Trouble {
        Trouble { kind, place: place.into(), what, since, span: None }
    }

    /// Retention deleted the records of a partition from offset `from` up to `to`, which were not read yet. `span` is
    /// the time of the last record before them, and of the first one after.
    pub fn records_lost(
        partition: &str,
        (from, to): (i64, i64),
        span: Option<(Timestamp, Timestamp)>,
        since: Timestamp,
    ) -> Trouble {
        let what = format!("offsets {from} to {} are gone, about {} records", to - 1, to - from);
        Trouble { span, ..Trouble::new(TroubleKind::RecordsLost, partition, what, since) }
    }

    /// A partition was read up to `from`, and now ends at `to`.
    pub fn partition_cut_back(partition: &str, (from, to): (i64, i64), since: Timestamp) -> Trouble {
        let what = format!("it was read up to offset {from}, and now ends at {to}; reading goes on there");
        Trouble::new(TroubleKind::PartitionCutBack, partition, what, since)
    }

    /// A topic was made anew; reading had come to offset `from` of this partition, and goes on at `to`.
    pub fn topic_recreated(partition: &str, (from, to): (i64, i64), since: Timestamp) -> Trouble {
        let what = format!("reading had come to offset {from}; the new partition is read from offset {to}");
        Trouble::new(TroubleKind::TopicRecreated, partition, what, since)
    }

    /// The brokers know a partition no longer; it was read up to `next`.
    pub fn vanished(partition: &str, next: i64, since: Timestamp) -> Trouble {
        let what = format!("it was read up to offset {next}");
        Trouble::new(TroubleKind::TopicVanished, partition, what, since)
    }

    /// Somebody else commits offsets or is a member of the consumer group.
    pub fn foreign_consumer(group: &str, evidence: &str, since: Timestamp) -> Trouble {
        Trouble::new(TroubleKind::ForeignConsumer, format!("group {group}"), evidence.to_owned(), since)
    }

    /// The client was made anew.
    pub fn client_renewed(reason: &str, since: Timestamp) -> Trouble {
        Trouble::new(TroubleKind::ClientRenewed, "kafka client", reason.to_owned(), since)
    }

    /// No broker answers.
    pub fn broker_unreachable(brokers: &str, since: Timestamp) -> Trouble {
        let what = "nothing was heard of any broker since then".to_owned();
        Trouble::new(TroubleKind::BrokerUnreachable, brokers, what, since)
    }

    /// The state file was damaged; it is in `aside` now.
    pub fn state_damaged(aside: &str, since: Timestamp) -> Trouble {
        let what = format!("it is kept as {aside}; a new one was begun");
        Trouble::new(TroubleKind::StateDamaged, "state file", what, since)
    }

    /// Commits fail since then.
    pub fn state_not_saved(reason: &str, since: Timestamp) -> Trouble {
        Trouble::new(TroubleKind::StateNotSaved, "state file", reason.to_owned(), since)
    }

    /// The snapshot `file` of the join cannot be used.
    pub fn snapshot_damaged(file: &str, reason: &str, since: Timestamp) -> Trouble {
        Trouble::new(TroubleKind::SnapshotDamaged, file, reason.to_owned(), since)
    }

    /// The join lacks what the source had deleted: of these models, of this span of event time.
    pub fn join_incomplete(
        partition: &str,
        models: &[&str],
        span: Option<(Timestamp, Timestamp)>,
        since: Timestamp,
    ) -> Trouble {
        let what = match models {
            [] => "it is not known which models are concerned".to_owned(),
            models => format!("models concerned: {}", models.join(", ")),
        };
        Trouble { span, ..Trouble::new(TroubleKind::JoinIncomplete, partition, what, since) }
    }
}
