"""What is observed on the machine, in this order; each step goes on where the one before it has ended."""

from collections.abc import Callable
from pathlib import Path

from tests.systemd import faults, installing, keys, operating
from tests.systemd.bed import Bed, Figures

Step = Callable[[Bed, dict[str, Path], Figures], None]

STEPS: list[Step] = [
    installing.the_package_is_the_same_when_built_again,
    installing.from_a_clean_root_to_the_first_snapshot,
    installing.a_second_account,
    keys.peer_authentication_as_the_dynamic_user,
    operating.old_rows_are_removed_each_night,
    operating.the_local_socket_answers_root_and_the_group,
    operating.an_account_is_paused_and_resumed,
    keys.one_account_cannot_read_the_others_key,
    keys.the_exposure_is_at_most_1_2,
    faults.sigkill_is_restarted_and_its_gap_closed,
    faults.sigstop_is_noticed_by_the_watchdog,
    faults.postgres_is_restarted_under_it,
    faults.the_volume_of_postgres_fills_and_is_emptied,
    faults.a_reboot,
    keys.a_key_is_rotated_by_a_restart,
    keys.a_key_is_rotated_without_a_restart,
    operating.settings_are_reloaded_and_wrong_ones_refused,
    installing.an_upgrade_with_data_in_it,
    operating.an_upgrade_is_planned_and_not_made,
    operating.install_and_uninstall_leave_the_package_alone,
    faults.a_forgotten_database_is_said,
    operating.the_documented_log_commands_show_what_they_are_for,
    operating.the_runbooks_commands_run,
    operating.the_stacks_on_request,
    operating.records_are_partitioned_under_running_daemons,
    operating.old_rows_are_pruned_by_a_user_of_their_own,
    faults.peer_authentication_without_its_library_is_said,
    faults.a_stop_within_its_limit,
    faults.nothing_is_lost_doubled_or_invented,
    # From here on the hubs serve others, too, whose records nobody stores.
    operating.a_check_as_root_in_the_units_sandbox,
    keys.a_support_bundle_with_the_journal,
    keys.a_database_over_tls_with_a_password,
    keys.no_key_is_found_anywhere,
    operating.a_backup_and_a_restore,
    installing.an_uninstall_leaves_nothing,
    installing.an_install_without_the_package,
]
