//! What the flows rely on, held against an engine through the store alone: rows, order, uniqueness, transactions, snapshots, and
//! the cache in front. A second engine runs the same tests.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::panic, reason = "a test stops at the first surprise")]

#[path = "../support/postgres.rs"]
#[expect(dead_code, reason = "other suites look into the rows")]
mod postgres;

mod acme;
mod audit;
mod cache;
mod challenges;
mod devices;
mod events;
mod guard;
mod ledger;
mod maintenance;
mod messages;
mod notices;
mod phone_changes;
mod plans;
mod sessions;
mod small;
mod support;
mod transactions;
mod undone;
mod users;
mod versions;

use std::sync::Arc;

use freshk::storage::Store;
use freshk::storage::postgres::{PostgresOptions, PostgresSettings, PostgresStore};
use freshk::storage::sqlite::{OpenOptions, SqliteStore};
use freshk::storage::users::FirstId;
use support::{Fixture, START};

/// Has an engine take every test of the contract.
macro_rules! contract {
    ($engine:ident: $fixture:ty) => {
        mod $engine {
            contract! { @tests $fixture:
                users {
                    users_are_read_as_they_were_written
                    a_name_that_is_taken_gets_a_number_and_a_phone_has_one_user
                    only_an_import_that_brings_the_id_makes_foreign_tokens_good
                    an_import_gives_way_to_whoever_has_the_id_the_name_or_the_phone
                    ids_are_given_once_and_can_be_raised
                    users_are_paged_in_the_order_of_their_ids
                    users_are_searched_for_and_counted
                    registrations_are_those_who_joined_here_and_never_verified_in_the_order_of_joining
                    a_registration_says_what_belongs_to_it
                    a_user_is_deleted_with_its_sessions_and_exchanges
                    users_who_are_to_be_deleted_are_found_the_longest_due_first
                }
                challenges {
                    challenges_are_read_as_they_were_written_newest_first
                    what_came_of_the_sending_is_read_as_it_was_written
                    a_challenge_is_found_by_the_id_of_its_delivery
                    those_that_are_not_settled_are_found_oldest_first
                    challenges_are_paged_from_the_newest
                    codes_that_are_over_are_deleted_a_page_at_a_time
                    a_phone_is_left_without_challenges_and_messages
                }
                devices {
                    devices_are_read_as_they_were_written_the_first_issued_first
                    devices_go_with_their_user_and_are_purged_when_they_have_expired
                    guesses_are_counted_for_each_device_and_challenge
                }
                events {
                    events_are_read_as_they_were_written_newest_first
                    the_first_of_each_queue_is_due_and_the_next_after_it
                    a_failed_event_waits_and_can_be_found_by_when_it_was_tried
                    an_event_is_replayed_in_its_place_also_for_a_webhook_that_never_had_it
                    the_oldest_are_dropped_and_their_queues_go_on
                    of_a_scrubbed_user_nothing_but_the_id_is_left
                    a_webhook_is_switched_off_and_on
                    an_event_is_purged_once_every_webhook_has_had_it_for_long
                }
                sessions {
                    sessions_are_read_as_they_were_written
                    live_sessions_are_neither_ended_nor_expired_and_come_oldest_first
                    a_use_is_noted_of_the_current_generation_of_a_session_that_stands
                    a_replacement_keeps_a_use_that_was_noted_meanwhile
                    rotations_are_known_until_they_are_forgotten
                    sessions_are_paged_in_the_order_of_their_ids
                    a_session_has_a_user
                    the_latest_sessions_of_a_user_are_found_ended_or_not
                }
                ledger {
                    s19_spends_are_kept_by_subject_and_quota_and_given_back
                    units_are_paged_in_the_order_of_spending
                    s35_the_first_refusal_of_a_window_is_told_and_the_rest_are_summed_up
                    a_reset_gives_one_subject_all_its_units_back
                    what_a_subject_has_spent_counts_for_its_heir_and_is_read_with_it
                }
                messages {
                    messages_are_read_as_they_were_written
                    the_latest_messages_to_a_phone_are_found
                    messages_are_paged_from_the_newest_with_whether_the_code_was_used
                    codes_that_found_no_sender_are_counted_by_the_minute
                }
                phone_changes {
                    changes_are_read_as_they_were_written_and_replaced_by_their_user
                    a_change_that_is_no_longer_to_that_number_is_left_alone_and_none_is_written_by_a_count
                    changes_that_are_due_are_paged_in_the_order_in_which_they_became_due
                    what_belongs_to_a_change_goes_with_its_user
                    s4_codes_are_told_apart_by_their_purpose
                }
                audit {
                    lines_are_read_as_they_were_written_in_both_directions
                    lines_are_found_by_user_and_by_phone
                    lines_are_searched_for_and_counted
                    what_lines_tell_of_a_span_is_what_each_tells_by_itself
                    s35_erasure_takes_the_phone_out_of_a_users_lines
                    s35_erasure_takes_numbers_before_out_of_lines_of_nobody_up_to_the_users_last
                    s35_erasure_takes_the_phone_out_of_lines_that_sum_refusals_up
                }
                guard {
                    a_purchase_is_counted_at_its_place_until_it_is_answered_or_excused
                    what_lies_before_a_horizon_counts_no_longer_nor_does_what_is_still_to_come
                    first_verifications_of_a_network_are_counted_to_two_and_the_older_ones_apart
                    a_block_replaces_the_one_that_was_read_and_no_other
                    first_verifications_are_counted_by_country_and_five_minutes
                    figures_by_country_tell_what_was_bought_answered_and_delivered
                    a_purchase_that_is_taken_back_tells_what_it_was_charged
                    what_a_purchase_was_paid_with_is_read_and_replaced
                    a_budget_is_never_exceeded_and_warned_of_once
                    maintenance_forgets_ranges_after_a_day_and_purchases_after_thirty
                }
                small {
                    exchanges_are_read_as_they_were_written_once
                    test_numbers_are_replaced_and_deleted_by_their_phone
                    names_of_tokens_are_replaced_and_deleted
                    the_clock_is_one_row_that_is_replaced
                }
                maintenance {
                    purging_takes_slices_and_only_what_is_old
                    s39_what_is_of_a_time_still_to_come_keeps_nothing_behind_it
                    a_spend_is_kept_as_long_as_its_own_quota_looks_back
                    sessions_go_when_they_are_over_with_their_rotations
                    when_a_user_was_last_seen_outlives_the_sessions
                    an_exchanged_token_is_remembered_until_it_has_expired
                    a_database_with_room_is_writable
                }
                versions {
                    a_row_that_was_replaced_since_it_was_read_is_not_replaced_again
                    a_row_that_is_not_there_is_not_replaced
                }
                transactions {
                    what_is_asked_ahead_is_answered_as_if_it_were_asked_then
                    everything_in_one_closure_happens_or_nothing_does
                    a_failing_and_a_panicking_write_are_undone_alone
                    a_write_sees_what_was_committed_before_it
                    writes_under_one_lock_come_one_after_the_other
                    what_many_tasks_were_told_is_there_is_there
                    s36_a_write_whose_caller_has_gone_is_done
                    a_read_sees_one_snapshot
                    s32_a_read_that_panics_harms_nobody_else
                    a_full_queue_refuses_at_once_and_loses_nothing_that_it_took
                    closing_writes_what_is_queued_and_refuses_what_comes_later
                }
                cache {
                    s17_an_own_write_is_seen_by_the_next_look
                    s17_a_use_that_was_undone_is_not_believed
                    s17_a_deleted_user_has_no_session
                    s17_what_maintenance_deletes_is_forgotten
                    s17_what_memory_knows_and_does_not_suffice_is_read
                    s17_what_another_process_wrote_is_seen
                    own_writes_are_not_foreign
                }
            }
        }
    };
    (@tests $fixture:ty: $($room:ident { $($test:ident)+ })+) => {
        $(mod $room {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                if <$fixture as crate::support::Fixture>::is_here() {
                    crate::$room::$test::<$fixture>().await;
                }
            })+
        })+
    };
}

/// A file in a directory of its own.
pub(crate) struct Sqlite {
    dir: tempfile::TempDir,
}

impl Fixture for Sqlite {
    async fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    async fn open(&self) -> Store {
        let engine: Arc<SqliteStore> =
            SqliteStore::open(OpenOptions::new(self.dir.path().join("freshk.db"), START)).unwrap();
        Store::new(engine)
    }
}

contract!(sqlite: crate::Sqlite);

/// A schema of the test run's server.
pub(crate) struct Postgres {
    schema: postgres::Schema,
}

impl Fixture for Postgres {
    fn is_here() -> bool {
        postgres::server().is_some()
    }

    async fn new() -> Self {
        Self { schema: postgres::server().unwrap().schema() }
    }

    async fn open(&self) -> Store {
        let mut settings = PostgresSettings::parse(&postgres::server().unwrap().url()).unwrap();
        self.schema.name().clone_into(&mut settings.schema);
        settings.writers = 4;
        let first_id = FirstId { id: 1, raises: true };
        let options = PostgresOptions { settings, first_id, principals: 1_000, migrate: true };
        Store::new(PostgresStore::open(&options).unwrap())
    }
}

contract!(postgresql: crate::Postgres);
