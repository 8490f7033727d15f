/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nof1-vault(8): reads this site's frozen data and answers with masked sums only. No network.
 */
#include <node/vault.h>
#include <sys/arguments.h>
#include <sys/daemon.h>
#include <sys/memory.h>

int main(int argc, char **argv)
{
    struct nof1_vault_config config = {.program = "nof1-vault"};
    const struct nof1_argument options[] = {
        {"dir", "DIR", &config.folder, NULL, "the vault's folder: frozen data, ledger, secret",
         true},
        {"charter", "FILE", &config.charter, NULL, "the approved charter; default DIR/charter.json",
         false},
        {"site", "ID", &config.site, NULL, "this site's name on the charter", true},
        {"key", "FILE", &config.key, NULL, "the vault's signing key (PEM, mode 0600)", true},
        {"socket", "PATH", &config.socket, NULL, "where the edge connects", true},
        {"policy", "FILE", &config.policy, NULL,
         "this site's limits (YAML); may only refuse more than the charter", false},
        {"admin", "PATH", &config.admin, NULL, "where nof1-node connects; default DIR/admin.sock",
         false},
        {"edge-user", "USER", &config.edge_user, NULL,
         "the user nof1-edge runs as, when it is another", false},
        {"manual-approval", NULL, NULL, &config.manual_approval,
         "every plan waits for nof1-node approve", false},
        {"service", NULL, NULL, &config.service, "do not start unless all memory can be locked",
         false},
        NOF1_ARGUMENTS_END};
    int code = nof1_command_line(
        &(struct nof1_usage_text){
            "nof1-vault --dir DIR --site ID --key FILE --socket PATH [options]", "", options, 0},
        0, NULL, argc, argv, 1);
    if (code >= 0) {
        return code;
    }
    nof1_log_start();
    nof1_json_memory();
    return nof1_vault_run(&config);
}
