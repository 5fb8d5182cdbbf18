// Package openssh connects to SSH servers as this machine's OpenSSH client
// would: with the hosts, users, keys, jump hosts and proxy commands of
// ~/.ssh/config and /etc/ssh/ssh_config (ssh_config(5)), the keys of an agent
// or of files, and the host keys of known_hosts (sshd(8)).
//
// # Host keys
//
// A server is believed only if its key, or the authority that certified it, is
// in a known_hosts file. An unknown key, a changed one and a revoked one are
// [transport.ErrRefused], whatever StrictHostKeyChecking says: nobody is there
// to be asked, and what was typed once in a configuration is no answer for
// every host to come. The error says how to trust the key.
//
// # Configuration
//
// These keywords are read: AddressFamily, BatchMode, CertificateFile, Ciphers,
// ConnectTimeout, GlobalKnownHostsFile, Host, HostKeyAlgorithms, HostKeyAlias,
// HostName, IdentitiesOnly, IdentityAgent, IdentityFile, Include,
// KbdInteractiveAuthentication, KexAlgorithms, MACs, Match,
// NumberOfPasswordPrompts, PasswordAuthentication, Port, ProxyCommand,
// ProxyJump, PubkeyAuthentication, RevokedHostKeys (keys as text, no KRL), Tag,
// User and UserKnownHostsFile. All others are passed over. Match knows all,
// canonical (never true), final, exec, host, originalhost, user, localuser and
// tagged; another criterion is an error, since what depends on it is unknown.
//
// Both files are read by a parser of our own: the libraries there are refuse a
// file with "Match final" or "Match user" in it, as distributions ship it, and
// known_hosts with a key of a type they haven't heard of.
//
// # Asking
//
// A passphrase or password is asked for when a server has agreed to the key or
// the method, on the terminal, once per key for the life of a [Dialer]: one
// question at a time, however many connections are made. No time limit runs
// meanwhile, and a server that hung up on a slow answer is connected to again.
// Without a terminal that is an error.
package openssh
