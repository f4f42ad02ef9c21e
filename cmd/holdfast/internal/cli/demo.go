package cli

import "github.com/spf13/cobra"

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{Use: "demo", GroupID: groupStart, Run: func(*cobra.Command, []string) {}}
}
func (a *app) demoCheckCommand() *cobra.Command {
	return &cobra.Command{Use: "demo-check", Hidden: true, Run: func(*cobra.Command, []string) {}}
}
