//! Exim's configuration and process. Exim delivers as its own user, hence the folder's owner.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::Certificate;
use super::MailMode;
use super::PASSWORD;
use super::USERNAME;
use crate::world::leash::Leash;

const EXIM: &str = "/usr/sbin/exim4";
const USER: &str = "Debian-exim";

/// Writes the configuration and makes the folders.
pub fn prepare(mode: MailMode, address: SocketAddr, folder: &Path, certificate: &Certificate) {
    assert!(Path::new(EXIM).exists(), "no {EXIM}: the world needs Debian's exim4-daemon-light");
    for part in ["spool", "log"] {
        std::fs::create_dir_all(folder.join(part)).expect("make a folder of exim's");
    }
    let text = configuration(mode, address, folder, certificate);
    std::fs::write(folder.join("exim.conf"), text).expect("write exim's configuration");
    let owned = Command::new("chown").args(["-R", &format!("{USER}:{USER}")]).arg(folder).status();
    assert!(
        owned.is_ok_and(|status| status.success()),
        "give the mail folder to {USER}: run the tests as root"
    );
    // Exim trusts no configuration that its own user could have written.
    let config = Command::new("chown").args(["root:root"]).arg(folder.join("exim.conf")).status();
    assert!(config.is_ok_and(|status| status.success()), "take back exim's configuration");
}

/// Starts it in the foreground, running its queue every five seconds.
pub fn start(folder: &Path) -> Leash {
    let config = folder.join("exim.conf");
    Leash::start(
        &[EXIM, "-C", config.to_str().expect("a path in UTF-8"), "-bdf", "-q5s"],
        &folder.join("output"),
    )
}

fn configuration(mode: MailMode, address: SocketAddr, folder: &Path, certificate: &Certificate) -> String {
    let (ip, port, at) = (address.ip(), address.port(), folder.display());
    let (pem, key) = (certificate.certificate().display(), certificate.key().display());
    let security = match mode {
        MailMode::Plain => "tls_advertise_hosts =\nauth_advertise_hosts =\n".to_owned(),
        MailMode::Login => "tls_advertise_hosts =\nauth_advertise_hosts = *\n".to_owned(),
        MailMode::StartTls => format!(
            "tls_certificate = {pem}\ntls_privatekey = {key}\ntls_advertise_hosts = *\n\
             auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}\n"
        ),
        MailMode::Tls => format!(
            "tls_certificate = {pem}\ntls_privatekey = {key}\ntls_on_connect_ports = {port}\n\
             auth_advertise_hosts = *\n"
        ),
    };
    let demands = match mode {
        MailMode::Plain => "",
        MailMode::Login => "  require message = authentication required\n          authenticated = *\n",
        MailMode::StartTls | MailMode::Tls => {
            "  require message = authentication required\n          authenticated = *\n          encrypted = *\n"
        }
    };
    let right = |user: &str, password: &str| {
        format!("${{if and {{{{eq{{{user}}}{{{USERNAME}}}}}{{eq{{{password}}}{{{PASSWORD}}}}}}}}}")
    };
    format!(
        "primary_hostname = mail.world.test\nspool_directory = {at}/spool\nlog_file_path = {at}/log/%slog\n\
         pid_file_path = {at}/exim.pid\nlocal_interfaces = {ip}\ndaemon_smtp_ports = {port}\nhost_lookup =\n\
         rfc1413_hosts =\nkeep_environment =\nmessage_size_limit = 30M\nacl_smtp_rcpt = recipient\n{security}\
         begin acl\nrecipient:\n{demands}  accept\n\
         begin routers\ninbox:\n  driver = accept\n  transport = inbox\n\
         begin transports\ninbox:\n  driver = appendfile\n  directory = {at}/inbox\n  maildir_format\n\
         \x20 create_directory\n  user = {USER}\n  group = {USER}\n\
         begin authenticators\n\
         plain:\n  driver = plaintext\n  public_name = PLAIN\n  server_prompts = :\n  server_condition = {}\n\
         login:\n  driver = plaintext\n  public_name = LOGIN\n  server_prompts = <| Username: | Password:\n\
         \x20 server_condition = {}\n",
        right("$auth2", "$auth3"),
        right("$auth1", "$auth2"),
    )
}
