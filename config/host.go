package config

// Host says where the daemon's container sees what is the node's.
type Host struct {
	// Writable is put before /proc/sys/net and /sys/module for writing, where
	// the daemon's own are read-only; empty where they are not.
	Writable string
	// ConfDir is the directory of CNI configurations; empty means that none is
	// written.
	ConfDir string
	// BinDir is the directory of CNI plugins.
	BinDir string
}

// Plugin is the file name of the CNI plugin, and the type by which the CNI
// configuration calls it.
const Plugin = "causeway-cni"

// ConflistName is the file name of the CNI configuration: aws-node's, so that
// one takes the place of the other. Runtimes take the first in the directory.
const ConflistName = "10-aws.conflist"

// Conflist is the CNI configuration. Runtimes that know cniVersions take the
// highest that they speak, and ask for STATUS from 1.1.0 on; those that do not
// know it are content with 1.0.0. The name is aws-node's, under which runtimes
// remember the pods that it wired.
const Conflist = `{
  "cniVersion": "1.0.0",
  "cniVersions": ["1.0.0", "1.1.0"],
  "name": "aws-cni",
  "plugins": [
    {"type": "` + Plugin + `", "capabilities": {"portMappings": true}}
  ]
}
`

// hostSettings are the rows of the node's directories.
func hostSettings() []setting {
	const directory = "an absolute path"
	return []setting{
		{"Host.ConfDir", "HOST_CNI_CONFDIR_PATH", "", directory,
			"where the CNI configuration is written once the node can serve; unset: nowhere", into(optional(parsePath), func(c *Config) *string { return &c.Host.ConfDir })},
		{"Host.BinDir", "HOST_CNI_BIN_PATH", "/host/opt/cni/bin", directory,
			"where `ipamd install` puts the CNI plugin", into(parsePath, func(c *Config) *string { return &c.Host.BinDir })},
		{"Host.Writable", "CAUSEWAY_HOST_ROOT", "", directory,
			"directory that has the node's proc/sys/net and sys/module to write to, where the daemon's own are read-only", into(optional(parsePath), func(c *Config) *string { return &c.Host.Writable })},
	}
}
