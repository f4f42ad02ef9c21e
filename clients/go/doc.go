// Package holdfast is the Go client of Holdfast: stateful stream processing with
// checkpoints, in an ordinary process.
//
// A program builds a job from an environment and executes it:
//
//	env := holdfast.GetExecutionEnvironment()
//	env.EnableCheckpointing(time.Second, holdfast.ExactlyOnce)
//	records := holdfast.FromSource(env, "kafka-source", source, holdfast.SimpleStringSchema)
//	keyed := holdfast.KeyBy(records, func(string) int64 { return 1 })
//	holdfast.FlatMap(keyed, "stateful-mapper", &StatefulMapper{}).Print()
//	err := env.Execute(ctx, "CheckpointExample")
//
// Names are Flink's. The protocol that it speaks is docs/protocol.md.
package holdfast
