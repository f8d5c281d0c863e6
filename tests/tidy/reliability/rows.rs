//! The table of `docs/reliability.md`: a case, and the tests that show that it is handled.

/// A letter for each group, and what its cases are about.
pub(super) const GROUPS: [(char, &str); 8] = [
    ('L', "Load"),
    ('F', "Upstreams that fail"),
    ('C', "Clients that leave"),
    ('X', "Requests that are wrong"),
    ('P', "Process and storage"),
    ('B', "Budgets and limits"),
    ('S', "Security"),
    ('G', "Properties, mutations, contracts"),
];

/// One case.
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) case: &'static str,
    /// Tests, one after the other, as `file::name`; a command as `tests/run part`.
    pub(super) tests: &'static str,
    /// What no test shows, and why: it does not apply, or comes with a later feature.
    pub(super) rest: &'static str,
}

const fn row(id: &'static str, case: &'static str, tests: &'static str) -> Row {
    Row { id, case, tests, rest: "" }
}

const fn rest(id: &'static str, case: &'static str, tests: &'static str, rest: &'static str) -> Row {
    Row { id, case, tests, rest }
}

pub(super) const ROWS: [Row; 57] = [
    row("L1", "64 clients without pause", "tests/long/run.py::throughput"),
    row(
        "L2",
        "many streams at once, each event in order",
        "tests/long/run.py::streams tests/e2e/shutdown.rs::with_200_open_streams_each_completes_or_ends_with_an_error_event",
    ),
    row(
        "L3",
        "three times as many requests as may be under way",
        "tests/long/run.py::overload tests/api/limits.rs::the_router_has_a_ceiling_of_its_own",
    ),
    row(
        "L4",
        "heads and bodies that drip, sockets that say nothing",
        "tests/abuse/slow_heads.py::main tests/api/connections.rs::the_head_of_every_request_has_its_time tests/api/connections.rs::a_head_that_comes_byte_by_byte_is_cut_off tests/api/connections.rs::a_connection_without_a_byte_is_closed_without_one tests/api/framing.rs::a_slow_body_is_cut_off tests/abuse/hostile.py::slow_bodies",
    ),
    row("L5", "a soak with faults and clients that leave: no growth", "tests/long/run.py::soak"),
    row(
        "L6",
        "readers that are slow or stop",
        "tests/api/connections.rs::a_reader_that_stops_is_cut_off_and_its_call_with_it crates/server/src/connections/stream/tests.rs::a_client_that_takes_nothing_is_cut_off_even_while_it_sends tests/abuse/hostile.py::stopped_readers",
    ),
    row(
        "L7",
        "a greedy key beside a modest one",
        "tests/long/run.py::fairness tests/api/limits.rs::a_key_over_its_limit_does_not_hurt_another tests/api/limits.rs::a_key_without_limits_has_a_quarter_of_the_room crates/router/tests/router/teams.rs::a_team_with_few_requests_does_not_wait_for_one_with_many",
    ),
    row(
        "L8",
        "shares of the strategies",
        "tests/e2e/shares.rs::of_1000_demo_requests_800_come_from_runpod crates/dispatch/tests/dispatch/shares.rs::weighted_is_exact_to_one_in_any_hundred crates/dispatch/tests/dispatch/shares.rs::weighted_is_within_two_whatever_the_weights",
    ),
    row(
        "F1",
        "no connection: refused, no such name, no answer",
        "tests/matrix/unreachable.rs::a_port_where_nobody_listens_falls_back tests/matrix/unreachable.rs::a_name_that_does_not_resolve_falls_back tests/matrix/unreachable.rs::an_address_that_does_not_answer_falls_back_after_the_connect_timeout",
    ),
    row(
        "F2",
        "TLS that must not be trusted: the key is not sent",
        "crates/server/tests/process/tls.rs::no_request_goes_to_an_upstream_whose_certificate_is_wrong crates/server/tests/process/tls.rs::no_request_goes_to_an_upstream_that_speaks_no_tls_or_an_old_one crates/server/tests/process/tls.rs::a_certificate_of_a_known_authority_is_trusted tests/tidy/layout.rs::every_certificate_is_checked",
    ),
    row(
        "F3",
        "a reset before or amid the head, silence before the first byte",
        "tests/e2e/faults.rs::cerebras_answers_whatever_happens_to_a_load_balancing_endpoint tests/e2e/faults.rs::cerebras_answers_whatever_happens_to_a_queue_endpoint crates/dispatch/tests/dispatch/fallback.rs::a_hanging_stream_is_given_up_at_the_first_token_limit crates/dispatch/tests/dispatch/fallback.rs::the_deadline_ends_everything tests/e2e/hedge.rs::a_stream_that_hangs_at_runpod_is_served_by_a_second_call_to_cerebras",
    ),
    row(
        "F4",
        "a stream that breaks: one error in it, and no second call",
        "tests/e2e/streaming.rs::a_stream_that_breaks_ends_with_one_error_and_without_done tests/e2e/odd/end.rs::a_cut_before_the_finish_is_one_error_and_no_end crates/dispatch/tests/dispatch/commit.rs::after_content_there_is_an_error_and_nothing_else tests/e2e/money.rs::every_nano_dollar_is_what_the_providers_counted",
    ),
    row(
        "F5",
        "200 with an error, a failed job, nothing, or no choices",
        "tests/e2e/odd/end.rs::an_answer_that_is_none_moves_on_on_every_route tests/e2e/odd/blame.rs::a_traceback_in_a_200_is_an_error_and_is_not_shown crates/dispatch/tests/dispatch/commit.rs::a_stream_that_fails_after_its_opening_leaves_no_trace crates/runpod/tests/golden/check.rs::a_failed_job_means_what_it_hides",
    ),
    row(
        "F6",
        "bytes that are no events, in any cut",
        "crates/openai/tests/fuzz_seeds.rs::sse_seeds_hold tests/e2e/streaming.rs::events_arrive_intact_however_they_were_cut crates/runpod/tests/golden/check.rs::the_cut_of_the_reads_does_not_matter crates/openai/src/sse.rs::an_endless_event_is_refused tests/e2e/odd/reading.rs::c08_a_stream_is_one_whatever_its_label tests/matrix/answers.rs::a_length_that_lies_falls_back",
    ),
    row(
        "F7",
        "packed answers, endless heads, interim answers, redirects",
        "tests/matrix/answers.rs::a_packed_answer_is_not_unpacked_and_falls_back tests/matrix/answers.rs::a_head_without_measure_falls_back tests/matrix/answers.rs::a_head_without_end_is_hung_up_on tests/matrix/answers.rs::an_interim_answer_is_skipped tests/matrix/answers.rs::interim_answers_without_end_are_cut_off tests/matrix/answers.rs::the_target_of_a_redirect_gets_neither_the_request_nor_the_key",
    ),
    row(
        "F8",
        "429 with any Retry-After, and none",
        "tests/matrix/parked.rs::a_limited_upstream_is_left_alone_whatever_its_retry_after_says tests/matrix/parked.rs::retry_after_is_from_1_to_120_whatever_the_upstream_says crates/dispatch/tests/dispatch/fallback.rs::a_rate_limited_upstream_is_left_alone_until_its_time",
    ),
    row(
        "F9",
        "only 5xx, from one or from all",
        "crates/dispatch/tests/dispatch/poison.rs::a_storm_of_500s_opens_the_breaker crates/dispatch/tests/dispatch/poison.rs::a_storm_of_500s_everywhere_opens_every_breaker crates/dispatch/tests/dispatch/limits.rs::a_total_outage_does_not_multiply_load crates/dispatch/tests/dispatch/limits.rs::repeats_are_a_fraction_of_the_requests_whatever_fails",
    ),
    row(
        "F10",
        "half of the calls fail, recovery, slow failure",
        "crates/router/src/knowledge/breaker/tests.rs::half_of_the_calls_failing_opens_it_and_a_tenth_does_not crates/router/src/knowledge/breaker/tests.rs::pauses_grow_to_two_seconds_and_to_eight_where_a_failure_takes_long_to_see crates/dispatch/tests/dispatch/health.rs::a_dead_upstream_is_left_alone_and_found_out_when_it_recovers crates/dispatch/tests/dispatch/health.rs::a_single_upstream_that_hangs_is_found_out_although_every_call_runs_into_the_deadline",
    ),
    row(
        "F11",
        "silence amid a stream",
        "tests/e2e/streaming.rs::a_stream_that_breaks_ends_with_one_error_and_without_done tests/e2e/streaming.rs::a_stream_that_falls_silent_is_kept_alive_by_comments",
    ),
    row(
        "F12",
        "cold starts",
        "crates/dispatch/tests/dispatch/health.rs::a_cold_upstream_that_times_out_is_not_broken crates/dispatch/tests/dispatch/health.rs::a_share_is_spilled_while_no_worker_is_ready_except_for_one_call_to_warm_it crates/router/tests/router/warm_up.rs::a_caller_a_minute_neither_waits_for_a_start_nor_pays_one tests/e2e/warm_up.rs::a_cold_endpoint_is_started_without_a_waiting_user_and_then_gets_its_share tests/e2e/gpu.rs::cold_starts_bursts_and_idle_tails_are_billed_as_the_provider_bills_them tests/e2e/streaming.rs::early_headers_come_before_the_first_token",
    ),
    row(
        "F13",
        "a kept connection that the upstream has closed",
        "tests/e2e/odd/connection.rs::c24_a_stale_connection_is_repeated_at_once_on_a_new_one crates/dispatch/tests/dispatch/again.rs::closing_kept_connections_does_not_count_against_health",
    ),
    row(
        "C1",
        "a client that leaves, by FIN, RST or half, at any point",
        "tests/matrix/leaving.rs::a_client_that_leaves_at_any_point_holds_nothing_and_causes_no_repeat tests/matrix/leaving.rs::a_client_that_leaves_amid_its_body_gives_its_permit_back tests/e2e/streaming.rs::a_client_that_leaves_is_noticed_upstream tests/e2e/batch.rs::a_client_that_leaves_takes_the_rest_with_it",
    ),
    rest(
        "C2",
        "what a client that left is charged",
        "crates/dispatch/tests/dispatch/usage_and_cost.rs::a_client_that_leaves_amid_the_stream_is_charged_for_what_was_counted crates/dispatch/tests/dispatch/commit.rs::a_client_that_leaves_while_its_end_is_recorded_was_served",
        "a settled row at each of 1,000 cuts is to come",
    ),
    row(
        "X1",
        "bodies too large, of another type, packed, or with a false length",
        "tests/api/framing.rs::only_plain_json_is_taken tests/api/framing.rs::a_body_over_the_limit_is_refused_however_it_comes tests/api/framing.rs::a_client_that_goes_amid_its_body_leaves_nothing_behind tests/api/keys.rs::a_request_without_a_key_is_refused_before_its_body_is_read tests/api/memory.rs::uploads_of_unknown_length_share_one_budget",
    ),
    row(
        "X2",
        "JSON that is deep, doubled, huge or odd",
        "tests/api/bodies.rs::a_body_that_is_wrong_is_refused_by_name_and_not_sent_on crates/provider/src/head/tests.rs::what_appears_twice_is_refused_at_every_depth crates/provider/src/head/tests.rs::reading_is_linear_in_the_body crates/openai/tests/fuzz_seeds.rs::head_seeds_hold tests/e2e/odd/requests.rs::c19_half_a_surrogate_is_alike_everywhere tests/abuse/hostile.py::dear_bodies",
    ),
    row("X3", "wrong types and fields, from the schema", "tests/run openapi"),
    row(
        "X4",
        "n, best_of, limits, logprobs, stop, tools out of bounds",
        "tests/matrix/bounds.rs::a_number_out_of_bounds_is_refused_by_name crates/provider/src/head/tests.rs::inputs_and_answers_are_bounded crates/provider/src/head/tests.rs::texts_to_stop_at_are_bounded",
    ),
    rest(
        "X5",
        "odd headers and ids",
        "tests/matrix/smuggling.rs::odd_headers_are_refused_or_harmless tests/api/headers.rs::a_harmless_request_id_comes_back_and_any_other_is_replaced tests/api/connections.rs::two_authorizations_are_refused_everywhere",
        "a line that ends in LF alone is taken, as RFC 9112 allows: the HTTP library does not report it",
    ),
    row(
        "X6",
        "odd names of models",
        "tests/api/bodies.rs::a_model_that_does_not_exist_is_not_found_whatever_its_name tests/e2e/series.rs::ten_thousand_unknown_names_and_keys_add_none",
    ),
    rest(
        "P1",
        "SIGTERM with streams under way, and a second one",
        "tests/e2e/shutdown.rs::with_200_open_streams_each_completes_or_ends_with_an_error_event tests/e2e/shutdown.rs::the_listener_stays_open_for_the_grace_period tests/e2e/shutdown.rs::connections_are_refused_once_the_grace_period_is_over crates/server/tests/command_line.rs::a_first_sigterm_leaves_time_and_a_second_does_not",
        "no row is lost: to come",
    ),
    row(
        "P2",
        "SIGKILL at any moment",
        "tests/ledger/kill.py::kill crates/ledger/src/tests/both.rs::what_a_killed_process_had_written_is_brought_to_the_store_by_the_next_one crates/ledger/src/tests/both.rs::a_journal_that_is_brought_twice_changes_nothing crates/ledger/src/journal/tests.rs::a_file_that_was_cut_anywhere_has_all_that_is_whole",
    ),
    row(
        "P3",
        "disk full, read-only, I/O errors",
        "tests/e2e/on_record.rs::while_the_journal_is_full_requests_are_refused_or_go_on_as_configured tests/e2e/on_record.rs::a_router_whose_journal_cannot_be_made_says_so_and_does_not_start crates/ledger/src/tests.rs::the_end_of_a_call_that_could_not_be_written_is_written_later_and_its_intent_is_not crates/ledger/src/tests.rs::a_journal_of_which_a_part_cannot_be_read_is_kept",
    ),
    rest(
        "P4",
        "a new configuration that is wrong, half written, or one of a storm",
        "tests/e2e/reload/storm.rs::a_hundred_reloads_under_load_lose_and_mix_nothing tests/e2e/reload.rs::a_file_that_is_replaced_is_noticed tests/e2e/reload/files.rs::a_file_that_changed_while_the_server_started_is_noticed crates/dispatch/tests/dispatch/reload.rs::a_removed_upstream_finishes_what_it_began",
        "the version in each row is to come",
    ),
    row(
        "P5",
        "a wall clock that jumps",
        "crates/server/tests/process/clock.rs::a_wall_clock_that_jumps_moves_no_limit_and_no_pause tests/tidy/layout.rs::the_wall_clock_is_read_in_one_place crates/ledger/src/budget/tests.rs::a_budget_begins_anew_and_keeps_what_is_reserved",
    ),
    row(
        "P6",
        "a store that is down, slow or read-only",
        "crates/ledger/src/tests/both.rs::a_store_that_is_held_by_another_one_stops_nothing_and_loses_nothing crates/ledger/src/store/postgres.rs::a_server_that_is_away_is_no_reason_not_to_start tests/ledger/replicas.py::stop_database tests/ledger/shared.py::servers_away crates/shared/tests/server/members.rs::a_server_that_is_not_there_at_the_start_is_used_when_it_comes crates/shared/tests/server/budgets.rs::after_a_loss_of_data_nothing_is_granted_before_what_was_held_has_lapsed crates/shared/tests/server/limits.rs::what_is_settled_counts_once_although_the_connection_breaks crates/ledger/src/budget/shared_tests.rs::without_an_answer_what_is_held_lapses_and_the_configuration_says_what_then",
    ),
    row(
        "P7",
        "several replicas, one of them killed",
        "tests/ledger/replicas.py::lose_each tests/ledger/shared.py::lose_replica tests/ledger/shared.py::worker_time crates/shared/tests/server/limits.rs::calls_under_way_of_a_replica_that_died_are_forgotten crates/shared/tests/server/budgets.rs::what_a_dead_replica_held_counts_as_spent_until_the_ledger_says_otherwise crates/shared/tests/server/members.rs::one_replica_leads_and_another_takes_over crates/router/tests/router/replicas/load.rs::what_a_dead_replica_had_in_flight_is_gone_at_once",
    ),
    row(
        "P8",
        "a panic, no descriptor, no port, little memory",
        "crates/server/src/connections/requests/tests.rs::a_handler_that_panics_answers_500_and_its_connection_goes_on crates/server/tests/process/descriptors.rs::without_descriptors_it_neither_ends_nor_spins_and_recovers tests/matrix/unreachable.rs::a_port_where_nobody_listens_falls_back tests/api/memory.rs::an_announced_body_without_room_is_refused_unread tests/abuse/hostile.py::abuses",
    ),
    row(
        "B1",
        "many calls at once for the rest of a budget",
        "crates/ledger/src/budget/tests.rs::exactly_what_a_budget_pays_for_is_let_through_at_once tests/e2e/budgets.rs::a_thousand_requests_at_once_spend_no_more_than_a_budget_that_pays_for_a_hundred tests/ledger/shared.py::against_budget crates/shared/tests/server/budgets.rs::replicas_never_hold_more_together_than_the_limit_leaves crates/ledger/src/budget/shared_tests.rs::two_replicas_let_through_together_exactly_what_a_budget_pays_for",
    ),
    row(
        "B2",
        "exact limits of requests and of calls under way",
        "crates/server/src/limits/tests.rs::a_minute_sees_the_limit_and_the_burst_and_not_one_more tests/api/limits.rs::a_key_may_only_have_so_many_requests_under_way tests/api/limits.rs::calls_under_way_are_counted_not_requests tests/api/limits.rs::a_bad_request_counts_as_one_and_a_refused_one_as_none crates/server/src/limits/tests.rs::tokens_used_stay_within_the_limit_and_the_burst crates/server/src/limits/tests.rs::a_request_needs_room_in_every_limiter_and_what_one_refuses_takes_nothing_of_the_others tests/ledger/shared.py::against_limit crates/shared/tests/server/limits.rs::two_replicas_let_in_together_what_a_limit_allows crates/shared/tests/server/limits.rs::a_request_that_one_limit_refuses_uses_up_no_other",
    ),
    rest(
        "B3",
        "limits hold from the first request on",
        "tests/api/limits.rs::a_key_without_limits_has_a_quarter_of_the_room tests/api/limits.rs::tokens_a_minute_are_limited_for_keys_teams_and_models",
        "there are no limits of end users",
    ),
    row(
        "B4",
        "ends of windows",
        "crates/ledger/src/budget/tests.rs::windows_have_neither_gaps_nor_overlaps crates/ledger/src/budget/tests.rs::days_weeks_and_months_are_those_of_the_time_zone crates/ledger/src/budget/tests.rs::a_budget_begins_anew_and_keeps_what_is_reserved",
    ),
    row(
        "B5",
        "usage that is given, 0, absent or twice",
        "tests/e2e/money.rs::every_nano_dollar_is_what_the_providers_counted crates/dispatch/tests/dispatch/usage_and_cost.rs::unknown_is_not_zero tests/e2e/odd/reading.rs::c03_counts_that_are_no_counts_are_unknown_and_the_stream_is_relayed crates/openai/src/chunk/tests.rs::usage_that_rides_on_the_finish_gets_a_chunk_of_its_own crates/ledger/src/tests/both.rs::spend_is_summed_up_by_what_is_asked_for",
    ),
    row(
        "S1",
        "no key, or a wrong one, on every route",
        "tests/matrix/routes.rs::every_route_but_the_probes_wants_a_key tests/api/keys.rs::only_a_known_key_is_let_in tests/api/keys.rs::a_request_without_a_key_is_refused_before_its_body_is_read",
    ),
    row(
        "S2",
        "1,000 wrong keys a second from one address",
        "tests/abuse/hostile.py::guess tests/api/keys.rs::an_address_that_guesses_is_slowed_and_a_known_key_never tests/api/keys.rs::failed_authentications_are_counted_on_every_route crates/server/tests/command_line.rs::a_flood_of_wrong_keys_is_a_few_lines_of_log",
    ),
    rest(
        "S3",
        "keys that are revoked, or like each other",
        "tests/api/keys.rs::a_key_that_is_taken_out_of_the_file_stops tests/e2e/reload.rs::a_key_that_is_removed_stops_its_running_batch crates/server/src/auth/tests.rs::keys_are_distinguished crates/server/src/auth/tests.rs::a_key_that_is_removed_or_replaced_is_not_let_in_any_more tests/e2e/keys.rs::a_key_is_made_used_rotated_and_disabled_while_the_router_runs tests/e2e/keys.rs::a_key_that_is_disabled_stops_its_running_batch crates/server/src/stored_keys.rs::what_is_disabled_expired_or_unreadable_is_not_in_force",
        "clients cannot read the ledger",
    ),
    row("S4", "the time that a wrong key takes", "tests/long/run.py::key_times"),
    rest(
        "S5",
        "keys on the wrong listener, routes that nobody looked at",
        "tests/matrix/routes.rs::a_clients_key_opens_no_admin_route_and_the_admin_token_no_other tests/matrix/routes.rs::the_routes_are_those_that_were_looked_at tests/api/openapi.rs::the_documents_list_the_routes_that_are_registered",
        "reading usage of one's own comes with keys in the store",
    ),
    row(
        "S6",
        "names and keys without number in the metrics",
        "tests/e2e/series.rs::ten_thousand_unknown_names_and_keys_add_none tests/e2e/series.rs::a_large_configuration_has_fewer_than_five_thousand tests/api/listeners.rs::probes_answer_on_both_listeners_and_metrics_on_one",
    ),
    row(
        "S7",
        "what a client sends along to choose the upstream, its address or key",
        "tests/matrix/outbound.rs::no_header_of_a_client_reaches_an_upstream tests/matrix/outbound.rs::no_field_of_a_body_chooses_where_a_request_goes_or_with_which_key tests/matrix/answers.rs::the_target_of_a_redirect_gets_neither_the_request_nor_the_key crates/settings/src/tests.rs::addresses_beyond_the_safe_ones_take_a_word crates/settings/src/host.rs::metadata_services_are_known_however_they_are_written",
    ),
    row(
        "S8",
        "secrets and prompts in what is written anywhere",
        "crates/server/tests/command_line.rs::the_demo_answers_and_reveals_no_secret_anywhere tests/api/secrets.rs::no_key_and_no_prompt_is_in_any_output crates/settings/src/tests.rs::secrets_are_never_shown crates/server/tests/process/log.rs::a_request_makes_one_line_of_log_whatever_it_holds",
    ),
    rest(
        "S9",
        "requests that two readers cut differently, tunnels, odd paths",
        "tests/matrix/smuggling.rs::an_ambiguous_request_ends_its_connection_and_nothing_behind_it_is_served tests/matrix/smuggling.rs::the_body_of_a_refused_request_is_never_taken_for_the_next_one tests/matrix/smuggling.rs::no_connection_is_upgraded_and_trailers_are_ignored tests/matrix/smuggling.rs::connect_and_trace_are_refused tests/api/paths.rs::a_path_is_taken_as_it_is_written",
        "a line that ends in LF alone is taken, see X5",
    ),
    rest(
        "S10",
        "TLS towards clients",
        "",
        "does not apply: the router speaks plain HTTP, behind a proxy that ends TLS",
    ),
    rest(
        "S11",
        "dependencies",
        "tests/run audit",
        "unsafe code is forbidden by a lint of the workspace and every build of the tests is --locked; a bill of materials and builds that can be repeated bit by bit come with the first release",
    ),
    row(
        "G1",
        "the core as pure state machines, and a simulator with seeds",
        "crates/router/src/knowledge/breaker/tests.rs::a_run_of_failures_opens_it_and_the_first_token_of_one_probe_closes_it crates/dispatch/tests/dispatch/shares.rs::two_hundred_at_once_survive_any_outage_and_the_share_comes_back crates/simulator/tests/simulator/agreement.rs::the_simulator_gives_the_same_results_as_the_prototype",
    ),
    row(
        "G2",
        "properties and fuzz targets, their corpora replayed",
        "crates/openai/tests/fuzz_seeds.rs::sse_seeds_hold crates/openai/tests/fuzz_seeds.rs::head_seeds_hold crates/openai/tests/fuzz_seeds.rs::waits_seeds_hold crates/server/tests/fuzz_seeds.rs::batch_seeds_hold crates/dialects/tests/fuzz_seeds.rs::messages_request_seeds_hold crates/dialects/tests/fuzz_seeds.rs::messages_stream_seeds_hold crates/dialects/tests/fuzz_seeds.rs::responses_request_seeds_hold crates/dialects/tests/fuzz_seeds.rs::responses_stream_seeds_hold crates/cerebras/src/tests/properties.rs::messages_hold_what_cerebras_types_and_all_of_it crates/ledger/src/tests/rollups.rs::sums_say_what_rows_say",
    ),
    row("G3", "mutations that no test notices", "tests/run mutants"),
    row("G4", "the SDKs as contract", "tests/run clients tests/run compat tests/run agents tests/run sdk-suite"),
];
