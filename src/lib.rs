//! modelwatch: watches machine-learning models in production.
#![cfg_attr(test, allow(clippy::cast_precision_loss, reason = "tests count in small numbers"))]

// The words of time and of what flows.
pub mod clock;
pub mod event;
pub mod pattern;
pub mod settings;

// In.
pub mod source;
pub mod decode;

// The pure core.
pub mod watermark;
pub mod join;
pub mod series;
pub mod indicator;
pub mod exact;
pub mod summary;
pub mod smoothing;
pub mod reading;
pub mod rule;
pub mod alert;
pub mod notification;
pub mod pipeline;

// Out.
pub mod notifier;
pub mod state;
pub mod web;
pub mod metrics;

// Around.
pub mod config;
pub mod daemon;
pub mod cli;
